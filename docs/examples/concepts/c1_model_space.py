"""
Model space
===========

A VAE's own latents have any mean and any size. The diffusion model sees them after a shift and a scale,
which differ from model to model. latentlab applies both once, while it loads the model. Everything else
works in *model space*: the numbers that the diffusion model sees, (C, H/stride, W/stride).

So one unit means about the same for every model: about one standard deviation over many photos.
"""

import latentlab

for name in ("mini", "linear"):
    vae = latentlab.load_vae(name)
    print(
        f"{name:7} {vae.spec.channels} channels, stride {vae.spec.stride}: {vae.origin.normalization[:60]}"
    )

# %%
# The latent of a photo, with its first three principal components as colors. Each cell of the grid
# stands for 8×8 pixels.

z = latentlab.encode(latentlab.load_vae("mini"), "sample:flower", size=256)
z.plot()
print(f"mean {float(z.values.mean()):.2f}, standard deviation {float(z.values.std()):.2f}")

# %%
# **What this does not show.** The colors are those directions of channel space that vary most in this one
# image. They are not the colors of the photo, and another image gets others. A standard deviation near 1
# says that the scale is right, not that the latents are good.
