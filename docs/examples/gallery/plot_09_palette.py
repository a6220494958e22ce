"""
Where a model keeps color
=========================

Flat colors, encoded, along the first two components of their latents. Each point has its own color.
"""

import latentlab
from latentlab.encoding.palette import find_palette

vae = latentlab.load_vae("mini")
palette = find_palette(vae, levels=4)
palette.plot()
