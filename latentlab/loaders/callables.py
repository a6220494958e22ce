"""The user's own encoder and decoder behind the interface of every other VAE."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentlab.errors import ShapeError
from latentlab.latents import LatentSpec, Posterior
from latentlab.loaders.base import LatentVAE, ModelOrigin

Encoded = Tensor | tuple[Tensor, Tensor] | Posterior


class CallableVAE(LatentVAE):
    """Two functions as a :class:`LatentVAE`; see :func:`wrap_vae`."""

    def __init__(
        self,
        encode: Callable[[Tensor], Encoded],
        decode: Callable[[Tensor], Tensor],
        spec: LatentSpec,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        origin = ModelOrigin(source=spec.name, family="callables")
        super().__init__(spec, origin, device=device, dtype=dtype)
        self._encode_images = encode
        self._decode_latents = decode

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, logvar = _split(self._encode_images(images))
        if (logvar is not None) != self.spec.has_logvar:
            raise ShapeError(
                f"{'a' if logvar is not None else 'no'} log-variance from encode",
                f"has_logvar={self.spec.has_logvar} as in the spec of {self.spec.name}",
                "return (mean, logvar) and set has_logvar=True, or neither",
            )
        height, width = (side // self.spec.stride for side in images.shape[2:])
        wanted = (images.shape[0], self.spec.channels, height, width)
        for tensor in (mean, logvar):
            _check_shape(tensor, wanted, "encode")
        return mean, logvar

    def _decode(self, latents: Tensor) -> Tensor:
        height, width = (side * self.spec.stride for side in latents.shape[2:])
        pictures = self._decode_latents(latents)
        _check_shape(pictures, (latents.shape[0], 3, height, width), "decode")
        return pictures


def wrap_vae(
    *,
    encode: Callable[[Tensor], Encoded],
    decode: Callable[[Tensor], Tensor],
    spec: LatentSpec,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LatentVAE:
    """Return your own encoder and decoder as a :class:`LatentVAE`.

    Parameters
    ----------
    encode : images (B, 3, H, W) in [−1, 1] → mean (B, C, H/stride, W/stride) in model space, or
        (mean, logvar) or a :class:`Posterior` where ``spec.has_logvar``
    decode : latents of that shape → pictures (B, 3, H, W) in [−1, 1]
    spec : LatentSpec, what the latents look like
    device, dtype : where and as what both functions want their tensors

    Raises
    ------
    ShapeError : by ``encode`` and ``decode`` of the result, when a function returns another
        shape than ``spec`` says.

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
            f"{wanted} as the spec says",
            f"correct {function} or the spec's channels and stride",
        )
