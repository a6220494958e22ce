"""
Everything that one command writes
==================================

``latentlab pca sample:flower`` in Python: sampling, components, null models, controls, verdict and files.
"""

import latentlab

vae = latentlab.load_vae("mini")
found = latentlab.analyze(vae, "sample:flower", size=64, n_samples=48, folder="run")
written = found.files

# %%
print(found.judgment.verdict)
