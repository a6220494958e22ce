"""
Explorer and export
===================

``latentlab explore`` opens a page with a slider for each direction around an image. The decoder follows
while a slider moves, and a map shows what changed. The page is served on this machine only and loads
nothing from elsewhere.

.. code-block:: console

   $ latentlab explore photo.jpg
   $ latentlab explore photo.jpg -m mini -m linear
   $ latentlab explore STORE --images FOLDER

.. image:: /assets/explorer.webp
   :alt: The decoded flower, what changed, and a slider for each direction

1. Move a slider. Its label says what the direction correlates with, and how well both halves of the samples
   agree on it.
2. Compare its strength with the mark of random directions.
3. Paint with a direction on a part of the image, or blend two images.
4. Copy the link, or the Python that makes the image.

The page draws 64 samples, enough for a first look. Search again with 256 before you believe a number.

For a blog or a paper
---------------------

``--export`` writes the page into a folder for any static host. A small decoder becomes part of it and runs
in the reader's browser. For larger ones, or with ``--frames``, the images are decoded now.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt

from latentlab.cli.main import run

command = "explore sample:flower -m linear --size 64 -k tokens --frames --export page --quiet"
assert run(command.split()) == 0

# %%
# Upload the folder as it is. ``scene.json`` says what is in it:

page = Path("page")
scene = json.loads((page / "scene" / "scene.json").read_text())
print("engine:", scene["engine"])
print("files:", len([path for path in page.rglob("*") if path.is_file()]))
print("images:", scene["frames"]["bytes"] // 1000, "kB, steps", scene["frames"]["alphas"][::4])

# %%
# Each direction has a folder of images. These are the ends of the first four:

figure, axes = plt.subplots(2, 4, figsize=(6.4, 3.3), layout="constrained")
for direction, column in enumerate(axes.T):
    for ax, step in zip(column, (0, 16), strict=True):
        ax.imshow(plt.imread(page / f"frames/0/{direction}-{step}.jpg"))
        ax.set_axis_off()
    column[0].set_title(f"PC {direction + 1}")

# %%
# In a notebook, ``latentlab.explore(vae, "photo.jpg")`` shows the same page in the cell. Its ``alphas``,
# ``latent`` and ``image`` are where the page is.
#
# **Tried in**, on 1 December 2026, on Linux, with ``mini``. A slider was moved, and the image of the page
# compared with Python's.
#
# .. list-table::
#    :header-rows: 1
#
#    * - program
#      - explorer
#      - exported page
#    * - Chromium 156
#      - the same image
#      - at most 1 level of 255 apart; several processors
#    * - Firefox 153 (ESR)
#      - the same image
#      - at most 1 level of 255 apart; several processors, or one where service workers are turned off
#    * - WebKitGTK 2.50
#      - the same image
#      - at most 1 level of 255 apart; one processor
#    * - JupyterLab 4.6 in Chromium
#      - the same image; ``alphas``, ``latent`` and ``image`` in Python; themes light and dark
#      -
#    * - marimo 0.25 in Chromium
#      - the same image; ``alphas``, ``latent`` and ``image`` in Python; the theme of the system
#      -
#
# Chromium is tried by the tests, the others were tried by hand. Not tried: Safari, phones, VS Code, Colab,
# and WebGPU on a graphics processor. On one that Chromium imitates (SwiftShader), WebGPU decoded within
# 0.001 levels of 255 of WebAssembly, but took longer, so the page kept WebAssembly and said so.
#
# **What it does not show.** What a slider does to one image holds for this image.
# ``latentlab transfer A B`` tests it on another.
