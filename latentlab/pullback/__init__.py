"""The geometry that a decoder pulls back from pictures to latents."""

from __future__ import annotations

from latentlab.pullback.subspaces import (
    grassmann_distance,
    principal_angles,
    random_overlap,
    random_overlap_deviation,
    subspace_overlap,
    turning,
)

__all__ = [
    "grassmann_distance",
    "principal_angles",
    "random_overlap",
    "random_overlap_deviation",
    "subspace_overlap",
    "turning",
]
