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

Each latent alone, from −2 to 2, for every label:
"""

from pathlib import Path

from latentlab.cli.main import run

assert run("digits traverse --steps 5 --out latents --quiet".split()) == 0
written = sorted(Path("latents").glob("*.png"))[:1]

# %%
# Which latent is the tilt? Its rank correlation with the slant stands beside what shuffled images reach.

from latentlab.digits.folders import load_run

model = load_run()
print(f"z{model.tilt_dimension} is the tilt")

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
