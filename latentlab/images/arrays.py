"""Arrays and tensors as images, and images as 8-bit levels."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from latentlab.errors import ShapeError, UsageError, ValueRangeWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

ValueRange: TypeAlias = tuple[float, float]
"""The values of black and white in an array of floats."""
TENSOR_RANGE = (-1.0, 1.0)
# The text never changes, so that Python shows it once.
_UNIT_RANGE = (
    "a float tensor without negative values was read as one in [-1, 1], where 0 is gray: pass "
    "value_range=(0, 1) if 0 is black, or value_range=(-1, 1) to confirm"
)


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


def pixels_of(source: object, value_range: ValueRange | None = None) -> tuple[Tensor, str]:
    """Return (3, H, W) in [−1, 1] of an array or tensor, and which range was taken, if not usual.

    Parameters
    ----------
    source : array (H, W), (H, W, 1 or 3), or Tensor (1 or 3, H, W)
    value_range : values of black and white; by default −1 and 1 for a tensor, 0 and 1 for an
        array, and the whole range for uint16

    Raises
    ------
    UsageError : another type, a range that is none, or values outside the range.
    ShapeError : a shape other than (H, W), or other than 1 or 3 channels.
    """
    if isinstance(source, torch.Tensor):
        _check_channels(tuple(source.shape), 0, (1, 3))
        values, usual = source.detach().cpu().float(), TENSOR_RANGE
    elif isinstance(source, np.ndarray) and source.dtype.kind in ("fui" if value_range else "fu"):
        array = source[..., None] if source.ndim == 2 else source
        _check_channels(array.shape, -1, (1, 3))
        values = torch.from_numpy(array.astype(np.float32)).movedim(-1, 0)
        usual = (0.0, 65535.0 if array.dtype == np.uint16 else 1.0)
    else:
        raise UsageError(
            f"an image of type {getattr(source, 'dtype', type(source).__name__)}",
            "a path, PIL image, uint8 or float array, tensor or Image",
            "pass one of these, or value_range=(0, 255) with an array of other integers",
        )
    low, high = check_range(value_range) if value_range else usual
    note = f"values from {low:g} to {high:g}" if value_range else ""
    if value_range is None and usual == TENSOR_RANGE and _looks_like_unit_range(values):
        note = "values from -1 to 1 assumed"
        warnings.warn(_UNIT_RANGE, ValueRangeWarning, stacklevel=3)
    in_range = (low, high) == TENSOR_RANGE
    pixels = values if in_range else (values - low) / (high - low) * 2 - 1
    if not bool((pixels.abs() <= 1.001).all()):
        raise UsageError(
            f"pixels from {float(values.min()):g} to {float(values.max()):g}",
            f"{type(source).__name__} values from {low:g} to {high:g}",
            "pass the values of black and white, such as value_range=(0, 255), or clamp them first",
        )
    return pixels.clamp(-1, 1).expand(3, -1, -1).contiguous(), note


def check_range(value_range: ValueRange) -> tuple[float, float]:
    """Return the values of black and white; UsageError unless they are two rising numbers."""
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise UsageError(
            f"value_range={value_range!r}",
            "the values of black and white",
            "pass, say, value_range=(0, 1)",
        )
    return low, high


def _looks_like_unit_range(values: Tensor) -> bool:
    return values.numel() > 0 and 0 <= float(values.min()) < 1 and float(values.max()) <= 1


def _check_channels(shape: tuple[int, ...], axis: int, channels: tuple[int, ...]) -> None:
    if len(shape) == 3 and shape[axis] in channels and min(shape) > 0:
        return
    counts = " or ".join(map(str, channels))
    layout = f"({counts}, H, W)" if axis == 0 else f"(H, W) or (H, W, {counts})"
    raise ShapeError(f"an image of shape {shape}", layout, "pass one image, without a batch")
