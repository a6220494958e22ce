"""
Two models on the same images
=============================

Values with 95 % intervals, and differences that are paired by image.
"""

from pathlib import Path

from PIL import Image

import latentlab
from latentlab.images.examples import sample_path

photos = Path("photos")
photos.mkdir(exist_ok=True)
photo = Image.open(sample_path("sample:china"))
for number in range(6):
    photo.crop((70 * number, 80, 70 * number + 64, 144)).save(photos / f"{number}.png")

models = [latentlab.load_vae(name) for name in ("mini", "linear")]
protocol = "native"
found = latentlab.compare(models, photos, protocol, only=["psnr", "ssim", "edges", "spectrum"])
found.plot()

# %%
found
