"""
Between two images
==================

How evenly does the image change from one photo to another? ``linear`` goes straight, ``slerp`` along a sphere.
``arc``, which takes steps of equal change, decodes many more images.
"""

import matplotlib.pyplot as plt

import latentlab

vae = latentlab.load_vae("mini")
first, last = (latentlab.encode(vae, f"sample:{name}", size=64) for name in ("flower", "china"))
straight, sphere = (
    latentlab.interpolate(vae, first, last, path=path, steps=8) for path in ("linear", "slerp")
)
straight.plot(others=[sphere])

# %%
# The frames:

frames = sphere.frames.numpy()
figure, axes = plt.subplots(1, len(frames), figsize=(11, 2.1), layout="constrained")
for ax, frame in zip(axes, frames, strict=True):
    ax.imshow(frame)
    ax.set_axis_off()
