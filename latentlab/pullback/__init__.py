"""The geometry of latent space that a decoder pulls back from pictures."""

from __future__ import annotations

from latentlab.pullback.features import FEATURES, make_features, register_features
from latentlab.pullback.products import DecoderMap, decoder_map
from latentlab.pullback.singular import SingularDirections, top_singular
from latentlab.pullback.subspaces import (
    grassmann_distance,
    principal_angles,
    random_overlap,
    random_overlap_deviation,
    subspace_overlap,
    turning,
)
from latentlab.pullback.traces import Estimate, Traces, estimate_traces

__all__ = [
    "FEATURES",
    "DecoderMap",
    "Estimate",
    "SingularDirections",
    "Traces",
    "decoder_map",
    "estimate_traces",
    "grassmann_distance",
    "make_features",
    "principal_angles",
    "random_overlap",
    "random_overlap_deviation",
    "register_features",
    "subspace_overlap",
    "top_singular",
    "turning",
]
