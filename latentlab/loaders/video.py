"""AutoencoderKLQwenImage and AutoencoderKLWan: video models that look at one frame.

Inside they are 5-D, (B, C, T, H, W) with T = 1. Their causal convolutions see zeros before the
first frame, so encoder and decoder run without the cache of earlier frames; that leaves out the
clamp to [−1, 1] at the end of diffusers' ``decode`` too, and gradients reach beyond it.
Model space is (z − latents_mean) / latents_std, channel by channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE, register_family
from latentlab.loaders.normalization import Affine


class _FrameVAE(ModuleVAE):
    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return channels from the configuration, and one factor of two for each level but one."""
        stride = 2 ** (len(module.config.dim_mult) - 1) * (module.config.get("patch_size") or 1)
        return LatentSpec(name, module.config.z_dim, stride, has_logvar=True)

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return means and deviations of the configuration, one for each channel."""
        scale = tuple(1 / std for std in module.config.latents_std)
        return Affine(tuple(module.config.latents_mean), scale)

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

        moments = self.module.quant_conv(self._run_encoder(images.unsqueeze(2)))
        posterior = DiagonalGaussianDistribution(moments.squeeze(2))
        mean = self.normalization.to_model(posterior.mean.float())
        return mean, self.normalization.logvar_to_model(posterior.logvar.float())

    def _decode(self, latents: Tensor) -> Tensor:
        hidden = self.module.post_quant_conv(self.normalization.from_model(latents).unsqueeze(2))
        return self._run_decoder(hidden).squeeze(2)

    def _run_encoder(self, frames: Tensor) -> Tensor:
        hidden: Tensor = self.module.encoder(frames)
        return hidden

    def _run_decoder(self, hidden: Tensor) -> Tensor:
        frames: Tensor = self.module.decoder(hidden)
        return frames


@register_family("AutoencoderKLQwenImage")
class QwenImageVAE(_FrameVAE):
    """Qwen-Image: a diagonal Gaussian over (16, H/8, W/8)."""


@register_family("AutoencoderKLWan")
class WanVAE(_FrameVAE):
    """Wan 2.1, (16, H/8, W/8), and Wan 2.2 with its 2×2 pixel patches, (48, H/16, W/16)."""

    @classmethod
    def count_colors(cls, config: Mapping[str, Any]) -> int:
        """Return three for each pixel of a patch."""
        patch: int = config.get("patch_size") or 1
        return 3 * patch**2

    def _run_encoder(self, frames: Tensor) -> Tensor:
        from diffusers.models.autoencoders.autoencoder_kl_wan import patchify

        return super()._run_encoder(patchify(frames, self.module.config.patch_size or 1))

    def _run_decoder(self, hidden: Tensor) -> Tensor:
        from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

        frames = self.module.decoder(hidden, first_chunk=True)
        pictures: Tensor = unpatchify(frames, self.module.config.patch_size or 1)
        return pictures
