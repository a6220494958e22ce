"""Ways to find directions around a latent: one finder a file, all behind one registry.

:func:`latentlab.find_directions` is the way in; ``@FINDERS.register("name")`` adds a finder of
your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.registry import Registry

if TYPE_CHECKING:
    from latentlab.directions.base import Finder

_BUILT_IN = (
    "pca",
    "jacobian",
    "ica",
    "sparse-pca",
    "supervised",
    "patterns",
    "difference",
    "random",
)

FINDERS: Registry[Finder] = Registry(
    "finder",
    __name__,
    {name: name.replace("-", "_") for name in _BUILT_IN},
    group="latentlab.finders",
    base="base.Finder",
)
