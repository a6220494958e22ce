"""Pillow's images and image files as 8-bit sRGB levels on the grid of a model.

No torch here: worker processes that only decode images start without it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latentlab.errors import ImageError
from latentlab.images.grid import Target, crop_box, grid_notes
from latentlab.images.pillow import decoding, load_upright, to_srgb

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fit_image(image: Image.Image, target: Target, multiple: int) -> tuple[Image.Image, list[str]]:
    """Return an RGB image on the grid, and what was done to it."""
    upright, load_notes = load_upright(image)
    box = crop_box(*upright.size, target, multiple)
    rgb, color_notes = to_srgb(upright.crop(box))
    if target is not None:
        rgb = rgb.resize(target[::-1], Image.Resampling.LANCZOS)
    return rgb, load_notes + color_notes + grid_notes(box, upright.size, target)


def decode_levels(content: bytes, name: str, target: Target, multiple: int) -> NDArray[np.uint8]:
    """Return the levels (H, W, 3) of an image file's bytes, as ``read_image`` sees them.

    Parameters
    ----------
    content : bytes of the file
    name : str, for messages
    target, multiple : the grid, as for :func:`fit_image`

    Raises
    ------
    ImageError : empty, damaged, no image, too large, or smaller than ``multiple``.
    MemoryLimitError : the image does not fit into memory.
    """
    if not content:
        raise ImageError(f"{name} with 0 bytes", "an image file", "copy or download it again")
    with decoding(name), Image.open(io.BytesIO(content)) as image:
        rgb, _ = fit_image(image, target, multiple)
    return np.array(rgb)
