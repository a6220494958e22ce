"""A user's own encoder and decoder, with the interface of every other VAE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latentlab.errors import ShapeError
from latentlab.latents import LatentSpec, Posterior
from latentlab.loaders.base import LatentVAE, ModelOrigin

Encoded = Tensor | tuple[Tensor, Tensor] | Posterior
Encode = Callable[[Tensor], Encoded]
Decode = Callable[[Tensor], Tensor]


class CallableVAE(LatentVAE):
    """A :class:`LatentVAE` made of two functions; see :func:`wrap_vae`."""

    def __init__(self, encode: Encode, decode: Decode, spec: LatentSpec, **place: Any) -> None:
        super().__init__(spec, ModelOrigin(source=spec.name, family="callables"), **place)
        self._encode_images = encode
        self._decode_latents = decode

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, logvar = _split(self._encode_images(images))
        if (logvar is not None) != self.spec.has_logvar:
            raise ShapeError(
                f"{'a' if logvar is not None else 'no'} log-variance from encode",
                f"has_logvar={self.spec.has_logvar} as in the spec of {self.spec.name}",
                "return (mean, logvar) and set has_logvar=True, or do neither",
            )
        cells = (side // self.spec.stride for side in images.shape[2:])
        wanted = (len(images), self.spec.channels, *cells)
        for tensor in (mean, logvar):
            _check_shape(tensor, wanted, "encode")
        return mean, logvar

    def _decode(self, latents: Tensor) -> Tensor:
        images = self._decode_latents(latents)
        sides = (side * self.spec.stride for side in latents.shape[2:])
        _check_shape(images, (len(latents), 3, *sides), "decode")
        return images


def wrap_vae(
    *,
    encode: Encode,
    decode: Decode,
    spec: LatentSpec,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LatentVAE:
    """Return your own encoder and decoder as a :class:`LatentVAE`.

    Parameters
    ----------
    encode : images (B, 3, H, W) in [−1, 1] → mean (B, C, H/stride, W/stride) in model space; or
        (mean, logvar) or a :class:`Posterior` if ``spec.has_logvar``
    decode : latents of that shape → images (B, 3, H, W) in [−1, 1]
    spec : LatentSpec, the shape of the latents
    device, dtype : device and dtype of the tensors that both functions are called with

    Raises
    ------
    ShapeError : raised by ``encode`` and ``decode`` of the result if a function returns a shape
        that contradicts ``spec``.

    Examples
    --------
    >>> import torch
    >>> from torch.nn.functional import pixel_shuffle, pixel_unshuffle
    >>> vae = wrap_vae(
    ...     encode=lambda images: pixel_unshuffle(images, 8),
    ...     decode=lambda latents: pixel_shuffle(latents, 8),
    ...     spec=LatentSpec("folded", channels=192, stride=8),
    ... )
    >>> vae.encode(torch.zeros(2, 3, 64, 32)).mean.shape
    torch.Size([2, 192, 8, 4])
    """
    return CallableVAE(encode, decode, spec, device=torch.device(device), dtype=dtype)


def _split(encoded: Encoded) -> tuple[Tensor, Tensor | None]:
    if isinstance(encoded, Posterior):
        return encoded.mean, encoded.logvar
    if isinstance(encoded, Tensor):
        return encoded, None
    if isinstance(encoded, tuple) and len(encoded) == 2:
        return encoded
    raise ShapeError(
        f"{type(encoded).__name__} from encode",
        "a Tensor, (mean, logvar) or a Posterior",
        "return one of these",
    )


def _check_shape(tensor: Tensor | None, wanted: tuple[int, ...], function: str) -> None:
    if tensor is not None and tuple(tensor.shape) != wanted:
        raise ShapeError(
            f"{tuple(tensor.shape)} from {function}",
            f"{wanted} according to the spec",
            f"correct {function}, or the channels and stride of the spec",
        )
