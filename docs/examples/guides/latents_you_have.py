"""
Latents you already have
========================

Trainers keep latents in files: ``.npy``, ``.npz``, ``.pt``, ``.safetensors``, folders and tar files of
these. latentlab reads them where they are. It asks for what the files leave open: the layout, the array's
name, and whether the numbers are the VAE's own (``raw``) or model space (``model``).

Here is such a file, made of crops of a photo:
"""

import numpy as np
from PIL import Image

import latentlab
from latentlab.cli.main import run
from latentlab.images.examples import sample_path

photo = Image.open(sample_path("sample:china"))
vae = latentlab.load_vae("mini")
crops = [
    photo.crop((left, top, left + 64, top + 64)) for left in range(0, 560, 70) for top in (40, 200)
]
np.save("latents.npy", np.stack([latentlab.encode(vae, crop).values.numpy() for crop in crops]))

# %%
# What a trainer has to know: mean, deviation, tails and dead channels, and the constants that would give unit
# scale, with intervals.

assert run("store stats latents.npy --space model".split()) == 0

# %%
# The principal components need no model:

assert run("pca latents.npy --space model -m mini --out of-latents".split()) == 0
written = "of-latents/cumulative_variance.png"

# %%
# With the model, ``latentlab traverse --run of-latents`` walks from the mean latent. In Python,
# ``latentlab.open_latents`` reads the file without copying it:

latents = latentlab.open_latents("latents.npy", space="model")
print(len(latents), "latents of shape", tuple(latents[0].values.shape))

# %%
# **What this does not show.** Neighboring crops are alike, so there are fewer independent latents than rows.
# The intervals allow for that between cells, not between images that overlap.
