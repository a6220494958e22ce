"""A user's own encoder and decoder, with the interface of every other VAE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.errors import ShapeError, UsageError
from latentlab.latents import LatentSpec, Posterior
from latentlab.loaders.base import LatentVAE, ModelOrigin
from latentlab.loaders.image_channels import NOTES
from latentlab.loaders.normalization import Affine
from latentlab.loaders.outputs import read_encoded

Encoded = Tensor | tuple[Tensor, Tensor] | Posterior
Encode = Callable[[Tensor], Any]
Decode = Callable[[Tensor], Tensor]


class CallableVAE(LatentVAE):
    """A :class:`LatentVAE` made of two functions; see :func:`wrap_vae`."""

    def __init__(
        self,
        encode: Encode,
        decode: Decode,
        spec: LatentSpec,
        *,
        origin: ModelOrigin | None = None,
        normalization: Affine | None = None,
        image_channels: int = 3,
        only_side: int | None = None,
        **place: Any,
    ) -> None:
        origin = origin or ModelOrigin(source=spec.name, family="callables")
        super().__init__(spec, origin, **place)
        self.image_channels = image_channels
        self.normalization = normalization or Affine()
        self._encode_images = encode
        self._decode_latents = decode
        self._only_side = only_side

    @property
    def only_side(self) -> int | None:
        """Return the side, in pixels, of the only images that the functions take, if given."""
        return self._only_side or super().only_side

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, logvar = read_encoded(self._encode_images(images))
        if (logvar is not None) != self.spec.has_logvar:
            raise ShapeError(
                f"{'a' if logvar is not None else 'no'} log-variance from encode",
                f"has_logvar={self.spec.has_logvar} as in the spec of {self.spec.name}",
                "return (mean, logvar) and set has_logvar=True, or do neither",
            )
        cells = self.spec.latent_size(images.shape[2:])
        wanted = (len(images), self.spec.channels, *cells)
        for tensor in (mean, logvar):
            _check_shape(tensor, wanted, "encode")
        if logvar is not None:
            logvar = self.normalization.logvar_to_model(logvar.float())
        plain = self.normalization == Affine()
        return mean if plain else self.normalization.to_model(mean.float()), logvar

    def _decode(self, latents: Tensor) -> Tensor:
        if self.normalization != Affine():
            latents = self.normalization.from_model(latents)
        images = self._decode_latents(latents)
        sides = self.spec.image_size(latents.shape[2:])
        _check_shape(images, (len(latents), self.image_channels, *sides), "decode")
        return images


def wrap_vae(
    module: nn.Module | Any = None,
    *,
    encode: Encode | None = None,
    decode: Decode | None = None,
    spec: LatentSpec | None = None,
    name: str | None = None,
    image_channels: int | None = None,
    image_size: int | None = None,
    shift: float = 0.0,
    scale: float = 1.0,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> LatentVAE:
    """Return your own encoder and decoder as a :class:`LatentVAE`.

    From a module, channels, stride and what its methods return are read off one dry run. A
    trained module shares its weights with the result, which is in eval mode.

    Parameters
    ----------
    module : nn.Module with the methods ``encode`` and ``decode``, or with an ``encoder`` and a
        ``decoder``. ``encode`` may return a tensor, a tuple, a distribution, or an object or
        mapping with ``latent_dist``, ``latents`` or ``sample``; ``decode`` a tensor, a tuple, or
        ``sample``. Of a distribution the mean is taken. Vectors (B, C) become (B, C, 1, 1) of a
        fixed image size
    encode, decode : instead of a module: images (B, 3, H, W) in [−1, 1] → mean
        (B, C, H/stride, W/stride) in model space; or (mean, logvar) or a :class:`Posterior` if
        ``spec.has_logvar``; and latents of that shape → images (B, 3, H, W) in [−1, 1]
    spec : LatentSpec, the shape of the latents; of tokens (C, 1, n) or vectors (C, 1, 1) with
        ``tokens=n`` and the ``side`` of the images; read off the dry run if left out
    name : str, for titles and folders, if there is no spec
    image_channels : channels of the images that the functions take and return; by default those
        of the module's first convolution, and 3 for functions. With 1 they get gray images, with 4
        opaque RGBA; others are passed on as they are given
    image_size : side in pixels of the image of the dry run; by default 64, or what else works
    shift, scale : float, model space is (latent − shift) · scale
    device, dtype : device and dtype of the tensors that both functions are called with; by default
        those of the module's weights, and float32 on the CPU for functions

    Raises
    ------
    UsageError : neither a module nor both functions, a dry run that tells nothing, or a spec of
        tokens without ``side``.
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

    >>> class Folded(torch.nn.Module):
    ...     def encode(self, images):
    ...         return pixel_unshuffle(images, 4)
    ...     def decode(self, latents):
    ...         return pixel_shuffle(latents, 4)
    >>> wrap_vae(Folded()).spec
    LatentSpec(name='Folded', channels=48, stride=4, multiple=4, has_logvar=False)
    """
    from latentlab.loaders.dry_run import prepare, run_dry

    if spec is not None and spec.tokens and not spec.side:
        raise UsageError(
            f"{spec.name} of {spec.tokens} tokens without the side of its images",
            "the side in pixels of the images that encode takes and decode returns",
            "pass LatentSpec(..., side=256), or what it is",
        )
    parts = prepare(module, encode, decode, device, dtype)
    places = {"device": parts.device, "dtype": parts.dtype}
    found = None
    if spec is None or module is not None:
        found = run_dry(parts, image_channels=image_channels, size=image_size)
        spec = spec or found.spec(name or parts.name)
        image_channels = found.image_channels
    normalization = Affine((shift,), (scale,))
    notes = found.notes if found else ()
    channels = image_channels or 3
    origin = ModelOrigin(
        source=spec.name,
        family=parts.family,
        normalization=normalization.describe(),
        notes=notes + ((NOTES[channels],) if channels in NOTES else ()),
    )
    return CallableVAE(
        found.encode if found else parts.encode,
        found.decode if found else parts.decode,
        spec,
        origin=origin,
        normalization=normalization,
        image_channels=channels,
        only_side=found.only_side if found else None,
        **places,
    )


def _check_shape(tensor: Tensor | None, wanted: tuple[int, ...], function: str) -> None:
    if tensor is not None and tuple(tensor.shape) != wanted:
        raise ShapeError(
            f"{tuple(tensor.shape)} from {function}",
            f"{wanted} according to the spec",
            f"correct {function}, or the channels and stride of the spec",
        )
