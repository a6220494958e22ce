"""A VAE whose every answer is known: an orthonormal transform of pixel patches."""

from __future__ import annotations

import torch
from torch import Tensor

from latentlab.latents import LatentSpec
from latentlab.loaders.base import LatentVAE, ModelOrigin


class LinearVAE(LatentVAE):
    """Patches of stride×stride pixels times an orthonormal matrix (C, 3·stride²), and back.

    Encoding is a projection, so the Jacobian, noise and reconstructions are known in closed form.

    Parameters
    ----------
    channels : int, C, at most 3·stride²
    stride : int, side of a patch in pixels
    seed : int, of the matrix

    Attributes
    ----------
    basis : Tensor, (C, 3·stride²), orthonormal rows; a patch is (3, stride, stride), flattened
    log_variances : Tensor, (C,), of the posterior, the same in every cell
    encoded, decoded : int, how many images and latents went through it so far

    Examples
    --------
    >>> vae = LinearVAE(channels=48)
    >>> image = smooth_image()[None]
    >>> bool((vae.decode(vae.encode(image).mean) - image).abs().max() < 1e-5)
    True
    """

    def __init__(self, channels: int = 6, stride: int = 4, seed: int = 0) -> None:
        spec = LatentSpec("linear", channels, stride, has_logvar=True)
        super().__init__(
            spec,
            ModelOrigin("latentlab.testing", "linear"),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        generator = torch.Generator().manual_seed(seed)
        square = torch.randn(3 * stride**2, 3 * stride**2, generator=generator)
        self.basis = torch.linalg.qr(square)[0][:channels]
        self.log_variances = torch.linspace(-6, -2, channels)
        self.decoded = 0
        self.encoded = 0

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.encoded += len(images)
        height, width = (side // self.spec.stride for side in images.shape[2:])
        columns = torch.nn.functional.unfold(images, self.spec.stride, stride=self.spec.stride)
        mean = (self.basis @ columns).view(len(images), -1, height, width)
        return mean, self.log_variances[:, None, None].expand_as(mean)

    def _decode(self, latents: Tensor) -> Tensor:
        self.decoded += len(latents)
        size = self.spec.image_size(latents.shape[2:])
        columns = self.basis.T @ latents.flatten(2)
        stride = self.spec.stride
        return torch.nn.functional.fold(columns, size, stride, stride=stride)


def smooth_image(height: int = 32, width: int = 40, seed: int = 0) -> Tensor:
    """Return a smooth random image (3, height, width) in [−1, 1].

    Examples
    --------
    >>> smooth_image(16, 24).shape
    torch.Size([3, 16, 24])
    """
    noise = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(
        noise, (height, width), mode="bicubic", align_corners=True
    )
    return torch.tanh(smooth[0])
