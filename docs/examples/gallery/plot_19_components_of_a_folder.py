"""
Components of a whole folder
============================

The latents of all images of a folder as a store, and the principal components of its cells.
"""

import latentlab
from latentlab.images.examples import example_folder

vae = latentlab.load_vae("mini")
latentlab.encode_folder(vae, example_folder(), "examples-mini", size=96)
found = latentlab.analyze_store("examples-mini", parts="tokens", folder="of-cells")
written = "of-cells/cumulative_variance.png"
print(found.facts["n_samples"], "cells of", found.facts["n_features"], "channels")
