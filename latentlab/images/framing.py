"""Crops and filters by name: the ways in which published measurements prepare images.

No torch here: worker processes that only decode images start without it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from latentlab.errors import ImageError, UsageError
from latentlab.images.cropping import crop_box
from latentlab.images.formats import open_image
from latentlab.images.pillow import decoding, load_upright, to_srgb

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Pillow's filters."""
CROPS = {
    "square": "the largest centered square, resized to the size",
    "shorter": "the shorter side resized to the size, then the centered square",
    "adm": "halved with a box filter while the shorter side is at least twice the size, then as "
    "shorter (Dhariwal and Nichol 2021)",
    "none": "no resize; cropped, centered, to multiples of what the model takes",
}
"""Name of a crop → what it does."""


@dataclass(frozen=True)
class Framing:
    """How the images of a measurement are cropped and resized.

    Parameters
    ----------
    crop : str, one of ``CROPS``
    filter : str, one of ``FILTERS``; unused for the crop ``"none"``
    size : int, side in pixels; 0 for the crop ``"none"``
    multiple : int, sides are multiples of this many pixels for the crop ``"none"``

    Raises
    ------
    UsageError : an unknown crop or filter, or a size that does not fit the crop.
    """

    crop: str = "square"
    filter: str = "lanczos"
    size: int = 256
    multiple: int = 1

    def __post_init__(self) -> None:
        for kind, name, known in (("crop", self.crop, CROPS), ("filter", self.filter, FILTERS)):
            if name not in known:
                choices = ", ".join(known)
                raise UsageError(f"{kind} {name!r}", f"one of {choices}", "choose one of them")
        if (self.crop == "none") != (self.size == 0) or self.size < 0:
            raise UsageError(
                f"crop {self.crop!r} with size {self.size}",
                "size 0 with the crop none, and a positive size with any other",
                "correct one of the two",
            )


def frame_levels(content: bytes, name: str, framing: Framing) -> NDArray[np.uint8]:
    """Return the levels (H, W, 3) of an image file's bytes: upright, opaque sRGB, framed.

    Parameters
    ----------
    content : bytes of the file
    name : str, for messages
    framing : Framing

    Raises
    ------
    ImageError : empty, damaged, not an image, or too large or too small.
    MemoryLimitError : the image does not fit into memory.
    """
    if not content:
        raise ImageError(f"{name} with 0 bytes", "an image file", "copy or download it again")
    with decoding(name), open_image(io.BytesIO(content), name) as image:
        rgb, _ = to_srgb(load_upright(image)[0])
        return np.array(_CROPPERS[framing.crop](rgb, framing))


def _square(image: Image.Image, framing: Framing) -> Image.Image:
    target = (framing.size, framing.size)
    box = crop_box(*image.size, target, framing.multiple)
    return image.crop(box).resize(target, _filter(framing))


def _shorter(image: Image.Image, framing: Framing) -> Image.Image:
    scale = framing.size / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    scaled = image.resize((width, height), _filter(framing))
    left, top = (width - framing.size) // 2, (height - framing.size) // 2
    return scaled.crop((left, top, left + framing.size, top + framing.size))


def _adm(image: Image.Image, framing: Framing) -> Image.Image:
    while min(image.size) >= 2 * framing.size:
        width, height = image.size
        image = image.resize((width // 2, height // 2), Image.Resampling.BOX)
    return _shorter(image, framing)


def _whole(image: Image.Image, framing: Framing) -> Image.Image:
    return image.crop(crop_box(*image.size, None, framing.multiple))


def _filter(framing: Framing) -> Image.Resampling:
    return Image.Resampling[framing.filter.upper()]


_CROPPERS: dict[str, Callable[[Image.Image, Framing], Image.Image]] = {
    "square": _square,
    "shorter": _shorter,
    "adm": _adm,
    "none": _whole,
}
