"""
Patterns and filters
====================

Two questions look alike. *Which direction changes the brightness?* The answer is a *pattern*: what the
latent does when the brightness changes, and all else stays. *From which direction can the brightness be
read?* The answer is a *filter*: the best predictor. It uses whatever helps to tell brightness from the rest,
so a step along it need not change the brightness at all.
"""

import matplotlib.pyplot as plt
import torch

import latentlab
from latentlab.images.arrays import to_uint8

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:flower", size=96)
hood = latentlab.neighborhood(vae, z, "augment", n_samples=64)
found = {
    "pattern": latentlab.find_directions(vae, z, hood, finder="patterns"),
    "filter": latentlab.find_directions(vae, z, hood, finder="supervised"),
}

figure, axes = plt.subplots(2, 3, figsize=(8.4, 5.8), layout="constrained")
for row, (kind, directions) in zip(axes, found.items(), strict=True):
    number = directions.labels.index("brightness")
    vector = directions.vectors[number]
    step = vector * (3 * float(directions.deviations[number]) / float(vector.norm()))
    for ax, sign in zip(row, (-1, 0, 1), strict=True):
        with torch.no_grad():
            image = vae.decode((z.values + sign * step)[None])[0]
        ax.imshow(to_uint8(image).numpy())
        ax.set_axis_off()
        ax.set_title(f"{kind}, {'−' if sign < 0 else '+'}3 σ" if sign else kind)
plt.show()

# %%
# Both rows go three standard deviations along the direction for brightness. The pattern makes the image
# darker and brighter. The filter reads the brightness well, but a step along it changes it far less.
#
# **What this does not show.** A pattern holds for this neighborhood: other ranges of the nine changes give
# another one. That a step changes only the brightness is not implied. ``latentlab directions`` measures what
# a step changes in the decoded image.
