"""
Digits, from autoencoder to browser
===================================

How does an autoencoder come to have a latent that means something? On small images of digits every step can
be trained in seconds:

.. code-block:: console

   $ latentlab digits train --data digits --epochs 60 --out my-digits   # scikit-learn's 1,797 digits
   $ latentlab digits train --data mnist --beta 2.5 --epochs 60 --out my-digits

The run folder has the model, its codes, figures, and a film of the training. The
:doc:`notebook </guides/03_digits>` trains several models and tells the story. What follows is the model that
comes with latentlab, trained on MNIST; pass your folder to take yours.

One of its eight latents is the tilt. A seven, from −2 to 2 along it:
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from latentlab.digits.figures import ink
from latentlab.digits.folders import load_run
from latentlab.digits.traversal import traverse_latents

run = load_run()
steps = torch.linspace(-2, 2, 9)
walk = traverse_latents(run.model, steps.expand(run.model.config.latent, -1))
plt.figure(figsize=(9, 1.4), layout="constrained")
plt.imshow(np.hstack(ink(walk.images[7][run.tilt_dimension])))
plt.axis("off")
print(f"z{run.tilt_dimension} of {run.model.config.latent} latents is the tilt")

# %%
# Into the browser:
#
# .. code-block:: console
#
#    $ latentlab digits factors my-digits              # which latent is what, beside rotations
#    $ latentlab digits demo my-digits                 # on this machine
#    $ latentlab digits demo my-digits --export site   # a folder for any static host
#
# .. image:: /assets/digits_demo.webp
#    :alt: The page: a digit, a large slider for its tilt, smaller ones for the other latents
#
# The model becomes two ONNX files, checked against PyTorch, that run in the reader's browser.
#
# **What this does not show.** Only the tilt is one latent of this model. Its :doc:`card </models/digits>` says
# what works, and what not.
