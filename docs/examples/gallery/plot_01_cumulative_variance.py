"""
Cumulative variance, with null models
=====================================

How much of a neighborhood the first components explain, beside what chance gives.
"""

import latentlab

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:flower", size=64)
hood = latentlab.neighborhood(vae, z, "augment", n_samples=48)
pca = latentlab.fit_pca(hood)
judgment = latentlab.judge(hood, pca)
pca.plot(judgment=judgment)

# %%
# The verdict puts the figure into words. It claims only what the numbers support.

print(judgment.verdict)
