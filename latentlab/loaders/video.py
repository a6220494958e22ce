"""Qwen-Image's and Wan's autoencoders: video models applied to one frame.

Inside they are 5-D, (B, C, T, H, W) with T = 1. Their causal convolutions are padded with zeros
before the first frame, so encoder and decoder run without the cache of earlier frames. This also
skips the clamp to [−1, 1] at the end of diffusers' ``decode``, so that gradients do not vanish
outside that range. Model space is (z − latents_mean) / latents_std, channel by channel. Models with
an alpha channel encode opaque images with an opacity of 1, the largest value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentlab.latents import LatentSpec
from latentlab.loaders.clips import ClipVAE
from latentlab.loaders.image_channels import to_rgb
from latentlab.loaders.registered import FAMILIES


@FAMILIES.register("AutoencoderKLQwenImage")
class QwenImageVAE(ClipVAE):
    """Qwen-Image: a diagonal Gaussian over (16, H/8, W/8).

    Attributes
    ----------
    decoder_options : what the decoder needs to know about the only frame
    """

    decoder_options: ClassVar[Mapping[str, bool]] = {}

    @classmethod
    def count_colors(cls, config: Mapping[str, Any]) -> int:
        """Return three for each pixel of a patch, or four with an alpha channel."""
        pixels = _patch_size(config) ** 2
        return (4 if _colors(config) == 4 * pixels else 3) * pixels

    @classmethod
    def read_image_channels(cls, module: Any) -> int:
        """Return three: patches and alpha are this family's own."""
        return 3

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return what happens to the alpha channel, if there is one."""
        note = (
            "images without transparency are encoded as opaque; decoded ones are blended on white"
        )
        return (note,) if _has_alpha(module.config) else ()

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return channels from the configuration, and a factor of two per level after the first."""
        config = module.config
        stride = 2 ** (len(config.dim_mult) - 1) * _patch_size(config)
        return LatentSpec(name, config.z_dim, stride, has_logvar=True)

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        from diffusers.models.autoencoders.autoencoder_kl_wan import patchify
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

        if _has_alpha(self.module.config) and images.shape[1] == 3:
            images = torch.cat([images, torch.ones_like(images[:, :1])], 1)
        frames = patchify(images.unsqueeze(2), _patch_size(self.module.config))
        moments = self.module.quant_conv(self.module.encoder(frames))
        posterior = DiagonalGaussianDistribution(moments.squeeze(2))
        return posterior.mean, posterior.logvar

    def _encode_clip(self, clip: Tensor) -> tuple[Tensor, Tensor | None]:
        if _has_alpha(self.module.config):
            clip = torch.cat([clip, torch.ones_like(clip[:, :1])], 1)
        posterior = self.module.encode(clip).latent_dist
        return posterior.mode(), posterior.logvar

    @property
    def takes_alpha(self) -> bool:
        """Return whether images have four channels."""
        return _has_alpha(self.module.config)

    def _run_decoder(self, latents: Tensor) -> Tensor:
        return to_rgb(self._decode_all(latents))

    def _decode_rgba(self, latents: Tensor) -> Tensor:
        return self._decode_all(self.normalization.from_model(latents))

    def _decode_all(self, latents: Tensor) -> Tensor:
        from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

        hidden = self.module.post_quant_conv(latents.unsqueeze(2))
        frames = self.module.decoder(hidden, **self.decoder_options)
        images: Tensor = unpatchify(frames, _patch_size(self.module.config)).squeeze(2)
        return images


@FAMILIES.register("AutoencoderKLWan")
class WanVAE(QwenImageVAE):
    """Wan 2.1, (16, H/8, W/8), and Wan 2.2 with its 2×2 pixel patches, (48, H/16, W/16)."""

    decoder_options: ClassVar[Mapping[str, bool]] = {"first_chunk": True}


@FAMILIES.register("AutoencoderKLQwenImage21")
class QwenImage21VAE(WanVAE):
    """Qwen-Image 2.1 with an alpha channel: (64, H/16, W/16)."""


def _colors(config: Mapping[str, Any]) -> int:
    """Return the channels of an image, or of its patches."""
    return int(config.get("input_channels") or config.get("in_channels") or 3)


def _has_alpha(config: Mapping[str, Any]) -> bool:
    return _colors(config) == 4 * _patch_size(config) ** 2


def _patch_size(config: Mapping[str, Any]) -> int:
    """Return the side of a pixel patch, 1 for models without patches."""
    return config.get("patch_size") or 1
