"""The geometry of latent space that a decoder pulls back from images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.pullback.registered import FEATURES
from latentlab.registry import lazy_names

if TYPE_CHECKING:
    from latentlab.pullback.features import make_features
    from latentlab.pullback.products import DecoderMap, decoder_map
    from latentlab.pullback.singular import SingularDirections, top_singular
    from latentlab.pullback.traces import estimate_traces

__all__ = [
    "FEATURES",
    "DecoderMap",
    "SingularDirections",
    "decoder_map",
    "estimate_traces",
    "make_features",
    "top_singular",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DecoderMap": "products",
        "SingularDirections": "singular",
        "decoder_map": "products",
        "estimate_traces": "traces",
        "make_features": "features",
        "top_singular": "singular",
    },
)
