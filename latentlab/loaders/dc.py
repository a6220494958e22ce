"""AutoencoderDC: the deep-compression autoencoders of Sana; model space is z·scaling_factor."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE, register_family
from latentlab.loaders.normalization import Affine


@register_family("AutoencoderDC")
class DCVAE(ModuleVAE):
    """Sana's DC-AE: no posterior, (32, H/32, W/32) and other sizes."""

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return channels from the configuration, and one factor of two for each block but one."""
        stride = 2 ** (len(module.config.encoder_block_out_channels) - 1)
        return LatentSpec(name, module.config.latent_channels, stride)

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the configuration's scale."""
        return Affine(scale=(module.config.scaling_factor,))

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.normalization.to_model(self.module.encode(images).latent.float()), None

    def _decode(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.module.decode(self.normalization.from_model(latents)).sample
        return pictures
