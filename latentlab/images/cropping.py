"""Cropping and resizing images to a model's grid.

No torch here: worker processes that only decode images start without it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latentlab.errors import ImageError
from latentlab.images.formats import open_image
from latentlab.images.pillow import decoding, load_upright, to_rgba, to_srgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentlab.images.fit import Fit, Target


def crop_box(width: int, height: int, target: Target, multiple: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the largest centered part of the target's shape.

    Without a target, of the largest part whose sides are multiples.
    """
    if target is not None:
        scale = min(height / target[0], width / target[1])
        across, down = max(1, round(target[1] * scale)), max(1, round(target[0] * scale))
    else:
        across, down = width // multiple * multiple, height // multiple * multiple
    if min(across, down) < 1:
        raise ImageError(
            f"an image of {width}×{height} pixels, which is too small",
            f"at least {multiple}×{multiple}",
            f"enlarge it with --size {max(multiple, -(-256 // multiple) * multiple)}",
        )
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def grid_notes(box: tuple[int, int, int, int], whole: tuple[int, int], target: Target) -> list[str]:
    """Return how an image of size ``whole`` was cropped and resized, in words."""
    across, down = box[2] - box[0], box[3] - box[1]
    notes = []
    if (across, down) != whole:
        notes.append(f"center crop {across}×{down}")
    if target is not None and (down, across) != target:
        notes.append(f"LANCZOS {target[1]}×{target[0]}")
    return notes


def fit_image(image: Image.Image, fit: Fit) -> tuple[Image.Image, list[str], tuple[int, int]]:
    """Return an RGB image on the grid, what was done to it, and its (width, height) before."""
    upright, load_notes = load_upright(image)
    target = fit.target(*upright.size)
    box = crop_box(*upright.size, target, fit.multiple)
    rgb, color_notes = to_srgb(upright.crop(box))
    if target is not None:
        rgb = rgb.resize(target[::-1], Image.Resampling.LANCZOS)
    return rgb, load_notes + color_notes + grid_notes(box, upright.size, target), upright.size


def fit_rgba(image: Image.Image, fit: Fit) -> Image.Image | None:
    """Return a transparent image as RGBA on the grid, as :func:`fit_image` crops and resizes it.

    None for an opaque one. Pillow weights colors by their opacity when it resizes.
    """
    upright, _ = load_upright(image)
    target = fit.target(*upright.size)
    box = crop_box(*upright.size, target, fit.multiple)
    rgba = to_rgba(upright.crop(box))
    if rgba is None or target is None:
        return rgba
    return rgba.resize(target[::-1], Image.Resampling.LANCZOS)


def decode_levels(content: bytes, name: str, fit: Fit) -> NDArray[np.uint8]:
    """Return the levels (H, W, 3) of an image file's bytes, as ``read_image`` sees them.

    Parameters
    ----------
    content : bytes of the file
    name : str, for messages
    fit : Fit

    Raises
    ------
    ImageError : empty, damaged, not an image, too large, or smaller than ``multiple``.
    MemoryLimitError : the image does not fit into memory.
    """
    if not content:
        raise ImageError(f"{name} with 0 bytes", "an image file", "copy or download it again")
    with decoding(name), open_image(io.BytesIO(content), name) as image:
        rgb = fit_image(image, fit)[0]
    return np.array(rgb)
