"""
Save a result and load it again
===============================

A folder keeps numbers, arrays, figures, and how they were made.
"""

from pathlib import Path

import latentlab

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:china", size=64)
pca = latentlab.fit_pca(latentlab.neighborhood(vae, z, "augment", n_samples=32))
paths = latentlab.save(pca, "kept")
print([Path(path).name for path in paths])

# %%
# ``load`` returns what was saved:

again = latentlab.load("kept")
assert isinstance(again, latentlab.PCA)
again.plot()

# %%
# All errors that users can cause have one base class. They say what was found, and what to do:

try:
    latentlab.load("no-such-folder")
except latentlab.LatentlabError as error:
    print(error)
