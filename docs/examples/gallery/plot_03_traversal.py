"""
A walk along components
=======================

From −3 to +3 standard deviations along each of the first components, as an animation and as a sheet.
"""

import latentlab

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:flower", size=96)
hood = latentlab.neighborhood(vae, z, "augment", n_samples=48)
walk = latentlab.traverse(vae, z, latentlab.fit_pca(hood), n_components=3, steps=8)
walk.plot().figure.set_size_inches(11, 4.6)

# %%
# ``save`` writes GIF, WebP, APNG or MP4, by the suffix.

written = walk.save("traversal.webp")
