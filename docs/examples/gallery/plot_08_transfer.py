"""
Does a direction do the same elsewhere?
=======================================

Directions found around one image, tried on another: the cosine of what they change, beside random ones.
"""

import latentlab

vae = latentlab.load_vae("mini")
flower, china = (latentlab.encode(vae, f"sample:{name}", size=64) for name in ("flower", "china"))
hood = latentlab.neighborhood(vae, flower, "augment", n_samples=32)
directions = latentlab.find_directions(vae, flower, hood, n_components=4)
moved = latentlab.transfer_directions(vae, flower, directions, [china], n_samples=8)
moved.plot()
