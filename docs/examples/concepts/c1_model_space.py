"""
Model space
===========

A VAE's own latents have any mean and any size. The diffusion model sees them after a shift and a scale,
which differ from model to model. latentlab applies both once, while it loads the model. Everything else
works in *model space*: the numbers that the diffusion model sees, (C, H/stride, W/stride).

One unit then means about the same for every model: one standard deviation over many photos.
"""

import latentlab

mini = latentlab.load_vae("mini")
print(f"{mini.spec.channels} channels, stride {mini.spec.stride}")
print("model space =", mini.origin.normalization)

# %%
# The latent of a photo, with its first three principal components as colors. Each cell of the grid
# stands for 8×8 pixels.

z = latentlab.encode(mini, "sample:flower", size=256)
z.plot()
print(f"mean {float(z.values.mean()):.2f}, standard deviation {float(z.values.std()):.2f}")

# %%
# **What this does not show.** The colors are those directions of channel space that vary most in this one
# image. They are not the colors of the photo, and another image gets others. A standard deviation near 1
# says that the scale is right. It does not say that the latents are good.
