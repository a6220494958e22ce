"""AutoencoderTiny: TAESD and its relatives as diffusers keeps them.

Their latents are model space already; scale and shift of the configuration are 1 and 0 in every
published model and are applied all the same, as diffusers' pipelines do.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE, register_family
from latentlab.loaders.normalization import Affine


@register_family("AutoencoderTiny")
class TinyVAE(ModuleVAE):
    """TAESD, TAESDXL, TAESD3, TAEF1 in diffusers' layout: no posterior, (C, H/8, W/8)."""

    # diffusers writes this one itself and never reads it back
    ignored_options = frozenset({"block_out_channels"})

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return channels from the configuration, and one factor of two for each later stage."""
        stride = 2 ** (len(module.config.num_encoder_blocks) - 1)
        return LatentSpec(name, module.config.latent_channels, stride)

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return scale and shift of the configuration."""
        return Affine((module.config.shift_factor,), (module.config.scaling_factor,))

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.normalization.to_model(self.module.encode(images).latents.float()), None

    def _decode(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.module.decode(self.normalization.from_model(latents)).sample
        return pictures
