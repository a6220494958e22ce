"""
Eigenvalues, with null models
=============================

The spectrum itself, log–log. An eigenvalue counts if it lies above a null's dashed threshold.
"""

import latentlab

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:china", size=96)
hood = latentlab.neighborhood(vae, z, "tokens")
pca = latentlab.fit_pca(hood)
pca.plot_eigenvalues(judgment=latentlab.judge(hood, pca))
