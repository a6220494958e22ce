"""Ways to find directions around a latent: one finder a file, all behind one registry.

:func:`latentlab.find_directions` is the way in; ``@FINDERS.register("name")`` adds a finder of
your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.registry import Registry

if TYPE_CHECKING:
    from latentlab.directions.base import Finder

FINDERS: Registry[Finder] = Registry(
    "finder",
    __name__,
    {
        "pca": "pca",
        "jacobian": "jacobian",
        "ica": "ica",
        "sparse-pca": "sparse_pca",
        "supervised": "supervised",
        "difference": "difference",
        "random": "random",
    },
)
