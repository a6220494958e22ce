"""AutoencoderTiny: TAESD and its relatives in diffusers' layout.

Their latents already are model space. Scale and shift of the configuration are 1 and 0 in every
published model, and are applied anyway, as in diffusers' pipelines.
"""

from __future__ import annotations

from torch import Tensor

from latentlab.loaders import FAMILIES
from latentlab.loaders.diffusers_vae import DiffusersVAE


@FAMILIES.register("AutoencoderTiny")
class TinyVAE(DiffusersVAE):
    """TAESD, TAESDXL, TAESD3, TAEF1 in diffusers' layout: no posterior, (C, H/8, W/8)."""

    levels = "num_encoder_blocks"
    ignored_options = frozenset({"block_out_channels"})

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.module.encode(images).latents, None
