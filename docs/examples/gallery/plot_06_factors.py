"""
How much the factors explain
============================

How much of a new copy do the known changes explain as a sum, with curves, and with products of pairs?
"""

import latentlab

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:flower", size=64)
hood = latentlab.neighborhood(vae, z, "augment", n_samples=96)
model = latentlab.factor_model(hood)
model

# %%
# The patterns of the factors can be walked, like components.

walk = latentlab.traverse(vae, z, model.patterns, n_components=3, span=2, steps=7)
walk.plot().figure.set_size_inches(11, 4.6)
