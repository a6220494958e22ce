"""AutoencoderKL: SD1.x, SDXL, SD3 and FLUX.1.

Model space is (z − shift)·scale, and (z − mean)·scale/std where the configuration has
``latents_mean`` and ``latents_std``, as in diffusers' image-to-image pipelines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE, register_family
from latentlab.loaders.normalization import Affine

_RENAMED_ATTENTION = {
    ".attentions.0.query.": ".attentions.0.to_q.",
    ".attentions.0.key.": ".attentions.0.to_k.",
    ".attentions.0.value.": ".attentions.0.to_v.",
    ".attentions.0.proj_attn.": ".attentions.0.to_out.0.",
}


@register_family("AutoencoderKL")
class KLVAE(ModuleVAE):
    """SD1.x, SDXL, SD3, FLUX.1: a diagonal Gaussian over (C, H/8, W/8).

    The log-variance is limited to [−30, 20] before the change to model space, which is how
    these models define their posterior.
    """

    def __init__(self, module: nn.Module, *arguments: Any, **options: Any) -> None:
        super().__init__(module, *arguments, **options)
        from latentlab.loaders.residual_blocks import reuse_memory
        from latentlab.loaders.upsampling import double_in_phases

        reuse_memory(self.module)
        double_in_phases(self.module)

    @classmethod
    def rename_keys(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights with the attention names of before 2023 brought up to date."""
        return {_rename_attention(key): tensor for key, tensor in tensors.items()}

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return channels from the configuration, and one factor of two for each block but one."""
        stride = 2 ** (len(module.config.block_out_channels) - 1)
        return LatentSpec(name, module.config.latent_channels, stride, has_logvar=True)

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return scale and shift, or means and deviations, of the configuration."""
        config = module.config
        if config.latents_mean is not None and config.latents_std is not None:
            scale = tuple(config.scaling_factor / std for std in config.latents_std)
            return Affine(tuple(config.latents_mean), scale)
        return Affine((config.shift_factor or 0.0,), (config.scaling_factor,))

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        posterior = self.module.encode(images).latent_dist
        mean = self.normalization.to_model(posterior.mean.float())
        return mean, self.normalization.logvar_to_model(posterior.logvar.float())

    def _decode(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.module.decode(self.normalization.from_model(latents)).sample
        return pictures


def _rename_attention(key: str) -> str:
    for old, new in _RENAMED_ATTENTION.items():
        key = key.replace(old, new)
    return key
