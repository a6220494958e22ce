"""
Is a model healthy?
===================

Each examination has a value, a threshold with its reason, and advice. Findings are drawn where they are.
"""

import latentlab
from latentlab.recipes.diagnosing import diagnose

found = diagnose(latentlab.load_vae("linear"), size=64)
found.plot()

# %%
found
