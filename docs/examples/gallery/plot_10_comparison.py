"""
Two models on the same images
=============================

Values with 95 % intervals for other images of the same kind. Whether a difference counts is judged image by
image, in the table below: bold is better by a paired difference.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

import latentlab
from latentlab.images.examples import sample_path

photos = Path("photos")
photos.mkdir(exist_ok=True)
photo = Image.open(sample_path("sample:china"))
for number in range(12):
    photo.crop((30 * number, 150, 30 * number + 64, 214)).save(photos / f"{number}.png")

models = [latentlab.load_vae(name) for name in ("mini", "linear")]
found = latentlab.compare(models, photos, "native", only=["psnr", "ssim"])

table = found.to_frame()
figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.2), layout="constrained")
for ax, (metric, rows) in zip(axes, table.groupby("metric", sort=False), strict=True):
    reach = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
    ax.errorbar(rows["model"], rows["value"], reach, fmt="o", capsize=4)
    ax.set_title(metric.replace("_", " "))
    ax.margins(x=0.5)

# %%
found
