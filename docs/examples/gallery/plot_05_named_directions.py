"""
Directions with names
=====================

What each known factor changes, others held fixed. A label says what a direction correlates with on samples
that it has not seen, and how much one step changes it in the decoded image.
"""

import latentlab

vae = latentlab.load_vae("mini")
z = latentlab.encode(vae, "sample:flower", size=64)
hood = latentlab.neighborhood(vae, z, "augment", n_samples=48)
directions = latentlab.find_directions(vae, z, hood, finder="patterns")
for label in latentlab.label_directions(vae, z, directions, n_samples=48):
    print(f"{label.direction:12} {label.text}")

# %%
# Walk along the first four:

walk = latentlab.traverse(vae, z, directions, n_components=4, span=2, steps=7)
walk.plot().figure.set_size_inches(11, 6)
