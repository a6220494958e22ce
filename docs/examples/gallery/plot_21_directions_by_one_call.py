"""
Directions, labels and files by one call
========================================

What ``latentlab directions`` does: sampling, a finder, what each direction correlates with, and a folder.
"""

import latentlab

vae = latentlab.load_vae("mini")
found = latentlab.analyze_directions(
    vae, "sample:flower", finder="ica", size=64, n_samples=48, n_components=4, folder="directions"
)
for label in found.labels:
    print(f"{label.direction:6} {label.text}")

# %%
# A walk along them:

z = latentlab.encode(vae, "sample:flower", size=64)
walk = latentlab.traverse(vae, z, found.directions, n_components=4, span=2, steps=7)
walk.plot().figure.set_size_inches(11, 6)
