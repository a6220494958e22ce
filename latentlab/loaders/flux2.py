"""AutoencoderKLFlux2: FLUX.2, whose model space is a batch norm over 2×2 patches.

The diffusion model sees 4·C channels at half the resolution, standardized by the running
statistics of ``bn``. Here they are unfolded again to (C, H/8, W/8), which is TAEF2's latent too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latentlab.latents import LatentSpec
from latentlab.loaders.families import register_family
from latentlab.loaders.kl import KLVAE
from latentlab.loaders.normalization import Affine

PATCH = 2


@register_family("AutoencoderKLFlux2")
class Flux2VAE(KLVAE):
    """FLUX.2: a diagonal Gaussian over (32, H/8, W/8); sides are multiples of 16 pixels."""

    @classmethod
    def rename_keys(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights with the counter that files of FLUX.2's authors leave out."""
        return {"bn.num_batches_tracked": torch.tensor(0), **super().rename_keys(tensors)}

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> torch.nn.Module:
        """Return the module; raises ValueError for patches other than 2×2."""
        if tuple(config.get("patch_size", (PATCH, PATCH))) != (PATCH, PATCH):
            raise ValueError(f"patch_size = {config['patch_size']}, but 2×2 patches are known")
        return super().build_module(config)

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return AutoencoderKL's spec with sides that whole patches fill."""
        spec = super().read_spec(module, name)
        return LatentSpec(name, spec.channels, spec.stride, spec.stride * PATCH, has_logvar=True)

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the batch norm's running statistics, one pair for each of 4·C patch channels."""
        deviation = (module.bn.running_var.double() + module.config.batch_norm_eps).sqrt()
        shift = module.bn.running_mean.double()
        return Affine(tuple(shift.tolist()), tuple((1 / deviation).tolist()))

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        posterior = self.module.encode(images).latent_dist
        mean = pixel_unshuffle(posterior.mean.float(), PATCH)
        logvar = pixel_unshuffle(posterior.logvar.float(), PATCH)
        return (
            pixel_shuffle(self.normalization.to_model(mean), PATCH),
            pixel_shuffle(self.normalization.logvar_to_model(logvar), PATCH),
        )

    def _decode(self, latents: Tensor) -> Tensor:
        patches = self.normalization.from_model(pixel_unshuffle(latents, PATCH))
        pictures: Tensor = self.module.decode(pixel_shuffle(patches, PATCH)).sample
        return pictures
