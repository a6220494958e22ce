"""
Effective dimension
===================

In how many directions do the samples vary? The *participation ratio* (Σλ)² / Σλ² answers with one number:
D for noise that is equal in D directions, 1 for a line. With few samples it is too small, since N samples
cannot span more than N − 1 directions. latentlab also gives the number for the population, of which the
samples are a part.
"""

import matplotlib.pyplot as plt
import torch

import latentlab

TRUE = 40
sizes = [10, 20, 40, 80, 160, 320]
found, corrected = [], []
for n in sizes:
    generator = torch.Generator().manual_seed(n)
    summary = latentlab.fit_pca(torch.randn(n, TRUE, generator=generator)).summary()
    found.append(summary["participation_ratio"])
    corrected.append(summary["participation_ratio_corrected"])

figure, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
ax.semilogx(sizes, found, "o-", label="of the samples")
ax.semilogx(sizes, corrected, "s-", label="corrected for sampling")
ax.axhline(TRUE, color="black", ls=":", label="true")
ax.set(xlabel="samples", ylabel="effective dimension", ylim=(0, 60))
ax.set_xticks(sizes, map(str, sizes), minor=False)
ax.minorticks_off()
ax.legend()
plt.show()

# %%
# The corrected number scatters around the truth where there are few samples. Its 95 % interval says how
# much, and the calibration says how often that interval is right.
#
# **What this does not show.** A rotation of the latent space changes neither number. So they say how many
# directions vary, and not whether single axes mean something. A curved set of one dimension (an image that
# turns) fills many directions.
