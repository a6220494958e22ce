"""
What a model loses
==================

An image, what the model makes of it, and where they differ.
"""

import latentlab

vae = latentlab.load_vae("mini")
lost = latentlab.reconstruct(vae, "sample:china", size=192)
lost.plot()
