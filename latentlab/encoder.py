"""Pictures become latents and latents pictures, in small batches and without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.errors import NonFiniteError
from latentlab.images import read_picture
from latentlab.latents import Latent, Posterior
from latentlab.loaders.base import LatentVAE
from latentlab.memory import available_memory, check_memory, memory_errors

if TYPE_CHECKING:
    from latentlab.latents import Picture

_ADVICE = "pass --tile 512 or less, lower --size, or choose another --device"


def encode(vae: LatentVAE, image: Any, size: int | None = None) -> Latent:
    """Return the latent of one picture: the posterior's mean, and its log-variance if any.

    Parameters
    ----------
    vae : LatentVAE
    image : path, PIL image, array, Tensor (3, H, W) in [−1, 1] or Picture
    size : int, optional; centre-crop to a square, then resize to size×size pixels. Without it
        the picture keeps its size and is cropped to multiples of ``vae.spec.multiple``.

    Raises
    ------
    ImageError : no readable picture, or too small for the model.
    UsageError : size is no multiple of ``vae.spec.multiple``.
    NonFiniteError : the model returned NaN, as float16 does for some families.
    MemoryLimitError : the picture is too large for this machine.
    """
    picture: Picture = read_picture(image, size=size, multiple=vae.spec.multiple)
    posterior = encode_batch(vae, picture.pixels[None])
    logvar = None if posterior.logvar is None else posterior.logvar[0]
    return Latent(posterior.mean[0], vae.spec, logvar, picture, picture.name)


def batch_size(vae: LatentVAE) -> int:
    """Return how many pictures to run at once: one on a CPU, where that stays in the cache."""
    return 1 if vae.device.type == "cpu" else 16


def encode_batch(vae: LatentVAE, images: Tensor) -> Posterior:
    """Return the posterior (B, C, h, w), on the CPU, of images (B, 3, H, W) in [−1, 1].

    Raises
    ------
    NonFiniteError, MemoryLimitError : as for :func:`encode`.
    """
    height, width = images.shape[-2:]
    what = f"encoding {height}×{width} pixels with {vae.spec.name}"
    _check_room(vae, height, width, what)
    with torch.no_grad(), memory_errors(what, _ADVICE):
        posterior = vae.encode(images)
    check_finite(posterior.mean, f"latents from {vae.spec.name} in {vae.dtype}")
    logvar = None if posterior.logvar is None else posterior.logvar.cpu()
    return Posterior(posterior.mean.cpu(), logvar)


def decode_each(vae: LatentVAE, latents: Tensor) -> Iterator[Tensor]:
    """Yield the picture (3, H, W), on the CPU and not clamped, of each latent (n, C, h, w).

    Raises
    ------
    NonFiniteError : the model returned NaN.
    MemoryLimitError : one picture is too large for this machine.
    """
    height, width = (side * vae.spec.stride for side in latents.shape[-2:])
    what = f"decoding {height}×{width} pixels with {vae.spec.name}"
    _check_room(vae, height, width, what)
    for batch in torch.split(latents, batch_size(vae)):
        with torch.no_grad(), memory_errors(what, _ADVICE):
            pictures = vae.decode(batch)
        check_finite(pictures, f"pictures from {vae.spec.name} in {vae.dtype}")
        yield from pictures.cpu()


def reconstruct(vae: LatentVAE, latent: Latent) -> Tensor:
    """Return the decoded picture (3, H, W) of a latent, on the CPU and not clamped."""
    return next(decode_each(vae, latent.values[None]))


def _check_room(vae: LatentVAE, height: int, width: int, what: str) -> None:
    # No VAE needs 32 kB a pixel, so only pictures that might be too large are measured.
    if height * width * 2**15 > available_memory():
        check_memory(vae.activation_bytes(height, width), what, _ADVICE)


def check_finite(values: Tensor, what: str) -> None:
    """Raise NonFiniteError where values hold NaN or infinity."""
    if not torch.isfinite(values).all():
        raise NonFiniteError(
            f"NaN or infinite {what}", "finite numbers", "use --dtype float32 (or bfloat16)"
        )
