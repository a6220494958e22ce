"""The linear control: an orthonormal transform of pixel patches, with everything in closed form.

Encoding subtracts the mean patch from each patch of stride×stride pixels and multiplies the result
by a matrix with orthonormal rows (the leading principal components of patches of photographs).
Decoding multiplies by the transpose. PCA, Jacobian, equivariance and reconstruction follow in
closed form, and a learned VAE with the same number of channels must do better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE
from latentlab.loaders.registered import FAMILIES


class PatchTransform(nn.Module):
    """Patches of 3×s×s pixels times a matrix with orthonormal rows, and back.

    Parameters
    ----------
    latent_channels : int, rows C of the matrix
    patch_size : int, side s of a patch in pixels

    Attributes
    ----------
    basis : Tensor, (C, 3, s, s), orthonormal
    mean : Tensor, (3, s, s), the mean patch
    """

    def __init__(self, latent_channels: int, patch_size: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.empty(latent_channels, 3, patch_size, patch_size))
        self.mean = nn.Parameter(torch.empty(3, patch_size, patch_size))

    def encode(self, images: Tensor) -> Tensor:
        """Return the latents (B, C, H/s, W/s) of images (B, 3, H, W)."""
        offset = -(self.basis * self.mean).flatten(1).sum(1)
        return conv2d(images, self.basis, offset, stride=self.basis.shape[-1])

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images (B, 3, H, W) of latents (B, C, H/s, W/s)."""
        details = conv_transpose2d(latents, self.basis, stride=self.basis.shape[-1])
        return details + self.mean.repeat(1, latents.shape[-2], latents.shape[-1])


@FAMILIES.register("PatchTransform")
class LinearVAE(ModuleVAE):
    """The principal components of pixel patches: no posterior.

    There is no normalization, so that encoder and decoder are each other's transpose.
    """

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return the transform with ``latent_channels`` and ``patch_size``."""
        return PatchTransform(config["latent_channels"], config["patch_size"])

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return the number of rows of the basis as channels, the side of a patch as stride."""
        return LatentSpec(name, module.basis.shape[0], module.basis.shape[-1])

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.module.encode(images), None

    def _run_decoder(self, latents: Tensor) -> Tensor:
        images: Tensor = self.module.decode(latents)
        return images
