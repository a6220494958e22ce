"""AutoencoderDC: Sana's deep-compression autoencoders; model space is z·scaling_factor."""

from __future__ import annotations

from torch import Tensor

from latentlab.loaders import FAMILIES
from latentlab.loaders.diffusers_vae import DiffusersVAE


@FAMILIES.register("AutoencoderDC")
class DCVAE(DiffusersVAE):
    """Sana's DC-AE: no posterior, (32, H/32, W/32) and other sizes."""

    levels = "encoder_block_out_channels"

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.module.encode(images).latent, None
