"""
Several photos, and what each shows
===================================

Effective dimension, and how much of a new copy the known factors explain, for each photo. The same copies
as plain pixels, and through a linear control, stand beside it.
"""

from PIL import Image

import latentlab
from latentlab.images.examples import sample_path

photo = Image.open(sample_path("sample:china"))
images = [photo.crop((left, 120, left + 96, 216)) for left in range(0, 540, 90)]
vae = latentlab.load_vae("mini")
found, _ = latentlab.entanglement(vae, images, size=64, n_samples=32, folder="several")
written = "several/entanglement.png"

# %%
# What a sum of the effects of the factors explains, as a mean over the photos with its 95 % interval:

print(found.mean("linear"))
