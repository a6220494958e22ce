"""
A moving image as a path
========================

The frames of an animation, encoded one by one, along the first two components of their latents.
"""

import numpy as np
from PIL import Image

import latentlab
from latentlab.figures.scatter import draw_scatter
from latentlab.images.examples import sample_path

photo = Image.open(sample_path("sample:china")).convert("RGB")
frames = [photo.crop((12 * k, 120, 12 * k + 96, 216)) for k in range(24)]
frames[0].save("pan.webp", save_all=True, append_images=frames[1:], duration=80, lossless=True)

vae = latentlab.load_vae("mini")
clip = latentlab.encode_clip(vae, "pan.webp")
rows = np.stack([latent.values.flatten().numpy() for latent in clip])
pca = latentlab.fit_pca(rows)
tiles = {k: np.asarray(frames[k].resize((40, 40))) for k in range(0, 24, 3)}
draw_scatter(
    pca.transform(rows)[:, :2],
    tiles,
    labels=("PC 1", "PC 2"),
    title="a camera that pans: frames by the first two components of their latents",
)
