"""What chance alone would give: one null a file, all behind one registry.

:func:`null_model` finds a null by name; :func:`register_null` adds one of your own.
"""

from latentlab.chance.nulls.base import NULLS, Null, NullModel, null_model, register_null
from latentlab.chance.nulls.isotropic import (
    Isotropic,
    isotropic_edge,
    isotropic_largest,
    isotropic_spectrum,
)
from latentlab.chance.nulls.parallel import Parallel
from latentlab.chance.nulls.signflip import SignFlip
from latentlab.chance.nulls.stationary import Stationary, stationary_variances

__all__ = [
    "NULLS",
    "Isotropic",
    "Null",
    "NullModel",
    "Parallel",
    "SignFlip",
    "Stationary",
    "isotropic_edge",
    "isotropic_largest",
    "isotropic_spectrum",
    "null_model",
    "register_null",
    "stationary_variances",
]
