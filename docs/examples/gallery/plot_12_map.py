"""
A map of images
===============

The images of a folder by the first two components of their latents.
"""

from pathlib import Path

import numpy as np
from PIL import Image

import latentlab
from latentlab.figures.scatter import draw_scatter
from latentlab.images.examples import sample_path

photos = Path("crops")
photos.mkdir(exist_ok=True)
crops = {}
for name in ("flower", "china"):
    photo = Image.open(sample_path(f"sample:{name}"))
    for number in range(16):
        left, top = 40 * (number % 8), 120 * (number // 8)
        crops[f"{name}-{number:02}.png"] = photo.crop((left, top, left + 128, top + 128))
for name, crop in crops.items():
    crop.save(photos / name)

vae = latentlab.load_vae("mini")
latentlab.encode_folder(vae, photos, "crops-mini", size=64)
store = latentlab.open_store("crops-mini")
pca = latentlab.fit_pca(store)
scores = pca.transform(np.stack([one.values.flatten().numpy() for one in store]))
tiles = [np.asarray(crops[name].convert("RGB").resize((48, 48))) for name in store.paths()]
draw_scatter(
    scores[:, :2],
    dict(enumerate(tiles)),
    labels=("PC 1", "PC 2"),
    title="crops of two photos, by the first two components of their latents",
)
