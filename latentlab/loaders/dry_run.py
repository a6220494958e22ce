"""What a module's encoder and decoder take and return, read off one small image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.errors import UsageError
from latentlab.latents import LatentSpec
from latentlab.loaders.in_memory import share
from latentlab.loaders.outputs import is_unnamed_pair, read_decoded, read_encoded

SIZES = (64, 256, 224, 128, 32, 28)
"""Sides of the image that is tried, in this order, until one works."""

_PAIR = "encode returns two tensors of one shape, read as mean and log-variance"


@dataclass(frozen=True)
class Parts:
    """Two functions, and where their tensors belong.

    Parameters
    ----------
    encode, decode : the functions
    module : nn.Module that they belong to, or None
    name, family : str, for titles and for ``run.json``
    device, dtype : of the tensors that both are called with
    """

    encode: Callable[[Tensor], Any]
    decode: Callable[[Tensor], Any]
    module: nn.Module | None
    name: str
    family: str
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class DryRun:
    """What a dry run showed.

    Parameters
    ----------
    encode, decode : images → (mean, logvar) or mean; latents → images
    channels, stride : of the latents
    image_channels : of the images
    has_logvar : whether there is a log-variance
    only_side : side of the only images that are taken, or None
    notes : how the outputs were read, for ``run.json``
    """

    encode: Callable[[Tensor], Any]
    decode: Callable[[Tensor], Tensor]
    channels: int
    stride: int
    image_channels: int
    has_logvar: bool
    only_side: int | None
    notes: tuple[str, ...]

    def spec(self, name: str) -> LatentSpec:
        """Return the spec of the latents; vectors are one token of a fixed image size."""
        fixed = {"tokens": 1, "side": self.only_side} if self.only_side else {}
        return LatentSpec(name, self.channels, self.stride, has_logvar=self.has_logvar, **fixed)


def prepare(
    module: Any,
    encode: Callable[[Tensor], Any] | None,
    decode: Callable[[Tensor], Any] | None,
    device: str | torch.device | None,
    dtype: torch.dtype | None,
) -> Parts:
    """Return the two functions of a module, or those given; UsageError for neither.

    Parameters
    ----------
    module, encode, decode, device, dtype : as for :func:`latentlab.wrap_vae`
    """
    if module is None:
        if encode is None or decode is None:
            raise UsageError(
                "no module and no pair of functions",
                "a module with encode and decode, or both functions",
                "pass wrap_vae(module) or wrap_vae(encode=..., decode=..., spec=...)",
            )
        place = torch.device(device or "cpu")
        return Parts(encode, decode, None, "own", "callables", place, dtype or torch.float32)
    name = type(module).__name__
    own = _copied(module, device, dtype)
    found = [
        given or next((one for way in ways if callable(one := getattr(own, way, None))), None)
        for given, ways in ((encode, ("encode", "encoder")), (decode, ("decode", "decoder")))
    ]
    if not all(found):
        raise UsageError(
            f"{name} without {'encode' if found[0] is None else 'decode'}",
            "the methods encode and decode, or the modules encoder and decoder",
            "pass wrap_vae(encode=..., decode=..., spec=...)",
        )
    weight = next(own.parameters(), None) if isinstance(own, nn.Module) else None
    place = torch.device(device or (weight.device if weight is not None else "cpu"))
    kind = dtype or (weight.dtype if weight is not None else torch.float32)
    return Parts(found[0], found[1], own, name, name, place, kind)  # type: ignore[arg-type]


def _copied(module: Any, device: str | torch.device | None, dtype: torch.dtype | None) -> Any:
    """Return a module's layers around the same weights, in eval mode; the module itself if not."""
    if not isinstance(module, nn.Module):
        return module
    try:
        own = share(module)
    except (TypeError, RuntimeError, ValueError, AttributeError):
        own = module.eval()  # what holds open files or hooks cannot be copied
    return own if device is None and dtype is None else own.to(device=device, dtype=dtype)


def run_dry(parts: Parts, *, image_channels: int | None, size: int | None) -> DryRun:
    """Return what one image shows of two functions.

    Parameters
    ----------
    parts : Parts
    image_channels : channels of the image; by default those of the first layer, or 3, 1 or 4
    size : side of the image; by default the first of :data:`SIZES` that works

    Raises
    ------
    UsageError : no image works, or what is returned is no latent; with the last reason.
    """
    reason = ""
    for channels in [image_channels] if image_channels else _guess_channels(parts.module):
        for side in [size] if size else SIZES:
            image = torch.zeros(1, channels, side, side, device=parts.device, dtype=parts.dtype)
            try:
                with torch.no_grad():
                    return _read(parts, image)
            except Exception as error:  # noqa: BLE001 (whatever a module of others raises)
                reason = reason or f"{type(error).__name__}: {error}"
    raise UsageError(
        f"{parts.name}, which takes no image of {size or SIZES[-1]} or more pixels ({reason})",
        "encode that takes (B, channels, H, W) and decode that returns the same shape",
        "correct it, pass image_size and image_channels, or pass two functions with a spec",
    )


def _guess_channels(module: Any) -> Iterator[int]:
    layers = module.modules() if isinstance(module, nn.Module) else ()
    first = next((one for one in layers if isinstance(one, nn.Conv2d | nn.Conv3d)), None)
    given = [] if first is None else [first.in_channels]
    yield from dict.fromkeys([*given, 3, 1, 4])


def _read(parts: Parts, image: Tensor) -> DryRun:
    """Return what one image shows; raises whatever the functions raise."""
    encoded = parts.encode(image)
    mean, logvar = read_encoded(encoded)
    channels, side = image.shape[1], image.shape[-1]
    encode: Callable[[Tensor], Any] = lambda images: _both(parts.encode(images))  # noqa: E731
    decode = partial(_decode, parts.decode)
    notes: tuple[str, ...] = (_PAIR,) if is_unnamed_pair(encoded) else ()
    only_side = None
    if mean.ndim == 2:
        encode, decode = partial(_as_grid, parts.encode), partial(_from_grid, parts.decode)
        mean = mean[:, :, None, None]
        only_side = side
        notes += (f"vectors of {mean.shape[1]} numbers; images of {side} pixels only",)
    _check(mean, side)
    if not _returns(decode, mean, image.shape):
        half = mean[:, : mean.shape[1] // 2]
        if logvar is not None or mean.shape[1] % 2 or not _returns(decode, half, image.shape):
            decoded = decode(mean)
            raise ValueError(f"decode returns {tuple(decoded.shape)} for {tuple(image.shape)}")
        encode, mean, logvar = partial(_halves, encode), half, half
        notes += ("encode returns mean and log-variance as one tensor",)
    stride = side // mean.shape[-1]
    return DryRun(
        encode, decode, mean.shape[1], stride, channels, logvar is not None, only_side, notes
    )


def _check(mean: Tensor, side: int) -> None:
    shape = tuple(mean.shape)
    if mean.ndim != 4 or shape[2] != shape[3] or not shape[2] or side % shape[2]:
        raise ValueError(f"encode returns {shape} for a side of {side} pixels")


def _returns(decode: Callable[[Tensor], Tensor], latents: Tensor, shape: torch.Size) -> bool:
    """Return whether a decoder takes latents and returns images of a shape."""
    try:
        return decode(latents).shape == shape
    except Exception:  # noqa: BLE001 (a decoder that takes half the channels refuses all)
        return False


def _both(encoded: Any) -> Any:
    mean, logvar = read_encoded(encoded)
    return mean if logvar is None else (mean, logvar)


def _decode(decode: Callable[[Tensor], Any], latents: Tensor) -> Tensor:
    return read_decoded(decode(latents))


def _as_grid(encode: Callable[[Tensor], Any], images: Tensor) -> Any:
    mean, logvar = read_encoded(encode(images))
    grid = mean[:, :, None, None]
    return grid if logvar is None else (grid, logvar[:, :, None, None])


def _from_grid(decode: Callable[[Tensor], Any], latents: Tensor) -> Tensor:
    return read_decoded(decode(latents.flatten(1)))


def _halves(encode: Callable[[Tensor], Any], images: Tensor) -> tuple[Tensor, Tensor]:
    mean, logvar = encode(images).chunk(2, 1)
    return mean, logvar
