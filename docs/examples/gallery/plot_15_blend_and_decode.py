"""
Decode a latent of your own
===========================

Arithmetic on latents, and the images that they decode to. Half of one photo's latent and half of the other's
is one of them; the left cells of one beside the right cells of the other is another.
"""

import matplotlib.pyplot as plt

import latentlab


def show(ax, vae: latentlab.LatentVAE, values, title):
    """Draw the image of a latent (C, h, w)."""
    image = latentlab.decode(vae, values).clamp(-1, 1)
    ax.imshow(image.movedim(0, -1).numpy() / 2 + 0.5)
    ax.set_title(title)
    ax.set_axis_off()


vae = latentlab.load_vae("mini")
first, last = (
    latentlab.encode(vae, f"sample:{name}", size=(96, 96)).values for name in ("flower", "china")
)
beside = first.clone()
beside[:, :, first.shape[2] // 2 :] = last[:, :, first.shape[2] // 2 :]
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
named = {"flower": first, "china": last, "mean of both": (first + last) / 2, "beside": beside}
for ax, (title, values) in zip(axes, named.items(), strict=True):
    show(ax, vae, values, title)
plt.show()

# %%
# The mean of two latents is a fainter image of both. The seam of the halves stays where it was: a cell
# decides mostly about its own place.
#
# To keep image and model with the numbers, leave them in the :class:`latentlab.Latent` that ``encode`` returned:

z = latentlab.encode(vae, "sample:flower", size=96)
assert isinstance(z, latentlab.Latent)
print(z.spec.name, tuple(z.values.shape))
