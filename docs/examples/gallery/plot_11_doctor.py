"""
Is a model healthy?
===================

Each examination has a value, a threshold with its reason, and advice. Findings are drawn where they are.
This model was spoiled on purpose: its decoder paints a bright spot.
"""

import latentlab
from latentlab.recipes.diagnosing import diagnose

linear = latentlab.load_vae("linear")


def decode(z):
    """Return the images of the linear control, with a spot."""
    images = linear.decode(z).clone()
    images[:, :, 24:40, 48:64] += 0.25
    return images


spoiled = latentlab.wrap_vae(
    encode=lambda x: linear.encode(x).mean, decode=decode, spec=linear.spec, name="spoiled"
)
found = diagnose(spoiled, size=96)
found.plot()

# %%
found
