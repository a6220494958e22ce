"""Arrays and tensors as images, and images as 8-bit levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from latentlab.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """Return uint8 images (…, H, W, 3) of images (…, 3, H, W) in [−1, 1].

    Values outside are clamped; the rest are rounded to the nearest of 256 levels.

    Examples
    --------
    >>> to_uint8(torch.tensor([-1.5, 0.0, 1.0]).view(3, 1, 1))
    tensor([[[  0, 128, 255]]], dtype=torch.uint8)
    """
    levels = ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return levels.to(torch.uint8).movedim(-3, -1).contiguous()


def from_uint8(images: Tensor) -> Tensor:
    """Return images (…, 3, H, W), float32 in [−1, 1], of uint8 images (…, H, W, 3).

    The memory layout stays channels last, as models expect it.
    """
    return images.movedim(-1, -3).float().div_(127.5).sub_(1)


def channels_last(pixels: Tensor) -> NDArray[Any]:
    """Return a tensor (1 or 3, H, W) as an array (H, W, 1 or 3); ShapeError for other shapes."""
    _check_channels(tuple(pixels.shape), 0, (1, 3))
    array: NDArray[Any] = pixels.detach().cpu().movedim(0, -1).numpy()
    return array


def image_of(array: NDArray[np.uint8]) -> Image.Image:
    """Return a uint8 array (H, W), (H, W, 1, 3 or 4) as an image; ShapeError for other shapes."""
    if array.ndim == 2:
        array = array[..., None]
    _check_channels(array.shape, -1, (1, 3, 4))
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[-1] == 1 else array))


def pixels_of(source: object) -> Tensor:
    """Return (3, H, W) in [−1, 1] of an array in [0, 1] or a tensor in [−1, 1].

    Raises
    ------
    UsageError : another type, or values outside the range.
    ShapeError : a shape other than (H, W), or other than 1 or 3 channels.
    """
    if isinstance(source, torch.Tensor):
        _check_channels(tuple(source.shape), 0, (1, 3))
        pixels, low = source.detach().cpu().float(), -1
    elif isinstance(source, np.ndarray) and source.dtype.kind in "fu":
        array = source[..., None] if source.ndim == 2 else source
        _check_channels(array.shape, -1, (1, 3))
        unit = array.astype(np.float32) / (65535 if array.dtype == np.uint16 else 1)
        pixels, low = torch.from_numpy(unit).movedim(-1, 0) * 2 - 1, 0
    else:
        raise UsageError(
            f"an image of type {getattr(source, 'dtype', type(source).__name__)}",
            "a path, PIL image, uint8 or float array, tensor or Image",
            "pass one of these",
        )
    if not bool((pixels.abs() <= 1.001).all()):
        raise UsageError(
            "pixels outside the range or NaN",
            f"{type(source).__name__} values from {low} to 1",
            "rescale or clamp them first",
        )
    return pixels.clamp(-1, 1).expand(3, -1, -1).contiguous()


def _check_channels(shape: tuple[int, ...], axis: int, channels: tuple[int, ...]) -> None:
    if len(shape) == 3 and shape[axis] in channels and min(shape) > 0:
        return
    counts = " or ".join(map(str, channels))
    layout = f"({counts}, H, W)" if axis == 0 else f"(H, W) or (H, W, {counts})"
    raise ShapeError(f"an image of shape {shape}", layout, "pass one image, without a batch")
