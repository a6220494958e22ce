"""LTX-Video's autoencoders, whose decoders may take a timestep and inject noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentlab.loaders.image_families import SEED
from latentlab.loaders.normalization import Affine
from latentlab.loaders.one_frame import OneFrameVAE
from latentlab.loaders.registered import FAMILIES


@FAMILIES.register("AutoencoderKLLTXVideo")
class LTXVideoVAE(OneFrameVAE):
    """LTX-Video: (128, H/32, W/32), standardized by statistics among the weights.

    A decoder with a timestep gets 0, the pipelines' default. Noise that it injects has a fixed
    seed.
    """

    @classmethod
    def read_stride(cls, module: Any) -> int:
        """Return the patch, times two per level that shrinks the image."""
        config = module.config
        shrinks = [
            scales and kind != "temporal"
            for scales, kind in zip(
                config.spatio_temporal_scaling, config.downsample_type, strict=False
            )
        ]
        return int(config.patch_size * 2 ** sum(shrinks))

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the buffers' means, and the scale over their standard deviations."""
        scale = module.config.scaling_factor / module.latents_std.double()
        return Affine(tuple(module.latents_mean.double().tolist()), tuple(scale.tolist()))

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return what the decoder is given besides the latent."""
        timestep = ("the decoder's timestep is 0, without noise",)
        noise = (f"the noise that the decoder injects has seed {SEED}",)
        config = module.config
        return (timestep if config.timestep_conditioning else ()) + (
            noise if any(_listed(config.decoder_inject_noise)) else ()
        )

    def _decode_clip(self, latents: Tensor) -> Tensor:
        given = self.module.config.timestep_conditioning
        timestep = latents.new_zeros(len(latents)) if given else None
        with torch.random.fork_rng(devices=[latents.device] if latents.is_cuda else []):
            torch.manual_seed(SEED)
            images: Tensor = self.module.decode(latents, timestep).sample
        return images


@FAMILIES.register("AutoencoderKLLTX2Video")
class LTX2VideoVAE(LTXVideoVAE):
    """LTX-2: (128, H/32, W/32)."""


def _listed(value: Any) -> list[Any]:
    return [*value] if isinstance(value, list | tuple) else [value]
