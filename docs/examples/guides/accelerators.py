"""
On a GPU, on many, on Slurm
===========================

Nothing has to be changed for a GPU: ``--device auto``, the default, takes the first one.
``--dtype auto`` uses bfloat16 where it is native and its rounding is negligible, which is measured on
a few samples. Every run records what it took:
"""

import json
from pathlib import Path

from latentlab.cli.main import run

command = "pca sample:flower --size 64 -n 16 --nulls none --out on-this-machine"
assert run(command.split()) == 0
written = "on-this-machine/cumulative_variance.png"

# %%
record = json.loads(Path("on-this-machine/run.json").read_text())["pca"]
print("device:", record["model"]["device"])
print("encoded in", record["precision"]["encode"], "because", record["precision"]["reason"])

# %%
# What can be set
# ---------------
#
# ===================================  =====================================================
# option                               what it does
# ===================================  =====================================================
# ``--device cuda:1``                  the second GPU
# ``--dtype bfloat16``                 half of the memory, without the measurement
# ``--tile 512``                       memory that does not grow with the image; changes results
# ``--compile``                        compiles first, which takes a minute or two
# ``--threads 4``                      CPU threads; ``encode`` keeps the number in the store
# ===================================  =====================================================
#
# Many GPUs
# ---------
#
# ``encode`` shares a folder among processes, and ``pca STORE`` shares the sums. The bytes are the same on one
# process or many:
#
# .. code-block:: console
#
#    $ torchrun --nproc-per-node 8 -m latentlab encode photos --out photos-flux1 -m flux1 --size 256
#    $ torchrun --nproc-per-node 8 -m latentlab pca photos-flux1 --randomized --components 64
#
# An interrupted ``encode`` resumes: call the same command again.
#
# Slurm
# -----
#
# A job script for several hosts, and what a hundred million images cost, are in :doc:`/scaling`. With
# ``--requeue`` a failed job needs nothing else.
#
# **What this does not show.** Figures for a GPU depend on the GPU. :doc:`/benchmarks` says what was measured,
# and on which machine.
