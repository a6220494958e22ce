"""
One model on many images
========================

A value for each image, and the mean with its 95 % interval for other images of the same kind.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import latentlab
from latentlab.images.examples import sample_path

photos = Path("pieces")
photos.mkdir(exist_ok=True)
photo = Image.open(sample_path("sample:china"))
for number in range(16):
    left, top = 64 * (number % 8), 128 * (number // 8)
    photo.crop((left, top, left + 64, top + 64)).save(photos / f"{number:02}.png")

found = latentlab.measure(latentlab.load_vae("mini"), photos, "native", only=["psnr"])
mean, each = found.values["psnr"], np.ravel(found.columns["psnr"].each())
figure, ax = plt.subplots(figsize=(6.8, 3.2), layout="constrained")
ax.plot(each, "o", label="one image")
ax.axhline(mean.value, color="black", ls=":", label="mean")
ax.axhspan(mean.low, mean.high, color="black", alpha=0.15, label="95 % interval of the mean")
ax.set(xlabel="image", ylabel="PSNR, dB", ylim=(0, 1.25 * each.max()))
ax.legend(ncols=3, loc="upper center")
plt.show()
