"""Null models, one a file, behind one registry.

``NULLS.make(name)`` returns a null; ``@NULLS.register("name")`` adds one of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.registry import Registry

if TYPE_CHECKING:
    from latentlab.chance.nulls.base import NullModel

_BUILT_IN = ("isotropic", "parallel", "signflip", "stationary", "turned")

NULLS: Registry[NullModel] = Registry(
    "null",
    __name__,
    {name: name for name in _BUILT_IN},
    group="latentlab.nulls",
    base="base.NullModel",
)
