"""What the decoder responds to, from random directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.latents import Latent
from latentlab.measures import MEASURES
from latentlab.measures.base import PerImage
from latentlab.measures.batch import Batch
from latentlab.pullback import decoder_map, estimate_traces


@MEASURES.register("geometry")
@dataclass(frozen=True)
class Geometry(PerImage):
    """Gain of random directions, trace and effective dimension of the decoder's pullback metric."""

    probes: int = 16

    label = "decoder geometry"
    span = "0 to ∞; `decoder_dimension` 1 to the number of features"
    needs = ("latents", "vae")
    positive = True
    cost = "16 products with J and with Jᵀ of each image, about 100 decodes"
    at_most = 8
    formula = (
        "G = JᵀJ at z, images in [−1, 1]: `decoder_gain` √(tr G / D), `decoder_trace` tr G = "
        "E‖Jε‖², `decoder_dimension` (tr G)² / tr G², tr G² = E‖Gε‖²; means over images"
    )
    reference = "Arvanitidis et al. 2018 (arXiv 1710.11379)"
    evidence = "how strongly, and along how many directions, the image responds to the latent"
    not_evidence = "which directions mean something"
    oracle = "the exact Jacobian of a linear decoder"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        found = []
        for latent in batch.latents:
            around = decoder_map(batch.vae, Latent(latent, batch.vae.spec))
            traces = estimate_traces(around, probes=self.probes)
            found.append([traces.random_gain, traces.trace.value, traces.effective_dimension.value])
        gain, trace, dimension = torch.tensor(found, dtype=torch.float64).unbind(1)
        return {"decoder_gain": gain, "decoder_trace": trace, "decoder_dimension": dimension}
