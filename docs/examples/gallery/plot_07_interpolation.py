"""
Between two images
==================

How evenly does the image change from one photo to another? ``arc`` takes steps of equal change.
"""

import matplotlib.pyplot as plt

import latentlab

vae = latentlab.load_vae("mini")
first, last = (latentlab.encode(vae, f"sample:{name}", size=64) for name in ("flower", "china"))
straight, arc = (
    latentlab.interpolate(vae, first, last, path=path, steps=6) for path in ("linear", "arc")
)
straight.plot(others=[arc])

# %%
# The frames:

frames = arc.frames.numpy()
figure, axes = plt.subplots(1, len(frames), figsize=(11, 2.1), layout="constrained")
for ax, frame in zip(axes, frames, strict=True):
    ax.imshow(frame)
    ax.set_axis_off()
