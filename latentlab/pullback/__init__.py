"""The geometry of latent space that a decoder pulls back from images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.pullback.registered import FEATURES as FEATURES
from latentlab.registry import lazy_names

if TYPE_CHECKING:
    from latentlab.pullback.alignment import channel_concentration as channel_concentration
    from latentlab.pullback.alignment import decoder_alignment as decoder_alignment
    from latentlab.pullback.features import make_features as make_features
    from latentlab.pullback.products import DecoderMap as DecoderMap
    from latentlab.pullback.products import decoder_map as decoder_map
    from latentlab.pullback.singular import SingularDirections as SingularDirections
    from latentlab.pullback.singular import top_singular as top_singular
    from latentlab.pullback.traces import estimate_traces as estimate_traces

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DecoderMap": "products",
        "SingularDirections": "singular",
        "channel_concentration": "alignment",
        "decoder_alignment": "alignment",
        "decoder_map": "products",
        "estimate_traces": "traces",
        "make_features": "features",
        "top_singular": "singular",
    },
)
