"""
Null models
===========

Every spectrum falls, that of pure noise included. A *null model* draws spectra in which one thing was
destroyed on purpose, and keeps the rest. What exceeds it is not due to what was kept.

The samples below are noise with five directions planted in it.
"""

import torch

import latentlab

generator = torch.Generator().manual_seed(0)
noise = torch.randn(256, 1024, generator=generator)
directions = torch.linalg.qr(torch.randn(1024, 5, generator=generator))[0]
samples = noise + 3 * torch.randn(256, 5, generator=generator) @ directions.T

pca = latentlab.fit_pca(samples)
judgment = latentlab.judge(samples, pca, nulls=["parallel"])
pca.plot_eigenvalues(judgment=judgment)
print(judgment.verdict)

# %%
# *Isotropic noise* destroys everything and keeps the number of samples and features. *Parallel analysis*
# permutes every column by itself: it destroys the dependence between features. *Stationary fields* keep the
# covariance between neighboring cells, since smooth images have smooth spectra. *Sign flips* allow for
# samples of unequal size.
#
# An eigenvalue counts if it exceeds the largest one of the null in 95 of 100 draws.
#
# **What this does not show.** A null that is exceeded is wrong for these samples. That is all. Copies of an
# image contain no noise, so latentlab draws their nulls and counts nothing.
