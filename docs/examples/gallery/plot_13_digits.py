"""
One number that tilts a seven
=============================

The model of digits that comes with latentlab. Each row moves one of its eight latents; one is the tilt.
"""

import torch

from latentlab.digits.figures import ink
from latentlab.digits.folders import load_run
from latentlab.digits.traversal import traverse_latents
from latentlab.figures.canvas import axes_on_screen, draw_pixels
from latentlab.figures.sheets import compose_sheet

run = load_run()
steps = torch.linspace(-2, 2, 9)
walk = traverse_latents(run.model, steps.expand(run.model.config.latent, -1))
rows = walk.images[7]
labels = [f"z{k}{', the tilt' if k == run.tilt_dimension else ''}" for k in range(len(rows))]
sheet = compose_sheet([ink(row) for row in rows], row_labels=labels, title="label 7", tile=64)
draw_pixels(axes_on_screen(None), sheet, "")
