"""AutoencoderKLFlux2: FLUX.2, whose model space is a batch norm over 2×2 patches.

The diffusion model sees 4·C channels at half the resolution, standardized with the running
statistics of ``bn``. Here the patches are unfolded again to (C, H/8, W/8), as in TAEF2's latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latentlab.latents import LatentSpec
from latentlab.loaders.diffusers_vae import KLVAE
from latentlab.loaders.normalization import Affine
from latentlab.loaders.registered import FAMILIES

PATCH = 2


class PatchAffine(Affine):
    """An affine map for each of the 4·C channels of 2×2 patches, on latents (B, C, h, w)."""

    def to_model(self, latents: Tensor) -> Tensor:
        """Return the VAE's own latents (B, C, h, w) in model space."""
        return pixel_shuffle(super().to_model(pixel_unshuffle(latents, PATCH)), PATCH)

    def from_model(self, latents: Tensor) -> Tensor:
        """Return model-space latents (B, C, h, w) as the VAE's decoder expects them."""
        return pixel_shuffle(super().from_model(pixel_unshuffle(latents, PATCH)), PATCH)

    def logvar_to_model(self, logvar: Tensor) -> Tensor:
        """Return the log-variance (B, C, h, w) in model space."""
        return pixel_shuffle(super().logvar_to_model(pixel_unshuffle(logvar, PATCH)), PATCH)


@FAMILIES.register("AutoencoderKLFlux2")
class Flux2VAE(KLVAE):
    """FLUX.2: a diagonal Gaussian over (32, H/8, W/8); sides are multiples of 16 pixels."""

    @classmethod
    def rename_keys(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights with the counter that the original FLUX.2 files leave out."""
        return {"bn.num_batches_tracked": torch.tensor(0), **super().rename_keys(tensors)}

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> torch.nn.Module:
        """Return the module; raises ValueError for patches other than 2×2."""
        if tuple(config.get("patch_size", (PATCH, PATCH))) != (PATCH, PATCH):
            raise ValueError(f"patch_size = {config['patch_size']}, but only 2×2 is supported")
        return super().build_module(config)

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return AutoencoderKL's spec with sides that are made of whole patches."""
        spec = super().read_spec(module, name)
        return replace(spec, multiple=spec.stride * PATCH)

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the batch norm's running statistics, one pair for each of 4·C patch channels."""
        deviation = (module.bn.running_var.double() + module.config.batch_norm_eps).sqrt()
        shift = module.bn.running_mean.double()
        return PatchAffine(tuple(shift.tolist()), tuple((1 / deviation).tolist()))

    @classmethod
    def read_assumption(cls, module: Any) -> str:
        """Return nothing: the statistics are among the weights."""
        return ""
