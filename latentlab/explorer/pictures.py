"""Tensors as files that a browser shows."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from latentlab.errors import ImageError
from latentlab.figures.latents import latent_rgb
from latentlab.images.formats import open_image
from latentlab.images.pillow import decoding
from latentlab.images.reading import read_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from latentlab.images.fit import Size
    from latentlab.images.image import Image as ReadImage

_MOST_PIXELS = 60_000_000
_NAME = 60
# Measured at 256 px on one busy core: JPEG 0.8 ms and 15 to 22 kB, lossless PNG 14 to 17 ms and
# 90 kB, WebP of the same quality 7 to 10 ms. Hence JPEG while something moves, and one PNG after.
_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 92, "subsampling": 0}
_PNG: dict[str, Any] = {"format": "PNG", "compress_level": 1}


def to_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels (H, W, 3) as JPEG of quality 92 with all of its color."""
    return _save(pixels, _JPEG)


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels (H, W, 3) or (H, W) as PNG, which keeps every level."""
    return _save(pixels, _PNG)


def _save(pixels: NDArray[np.uint8], how: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **how)
    return buffer.getvalue()


def latent_png(values: Tensor) -> bytes:
    """Return the first three components of a latent's cells (C, h, w) as colors."""
    return to_png(latent_rgb(values.numpy()))


def channels_png(values: Tensor) -> tuple[bytes, list[float]]:
    """Return the channels of a latent (C, h, w) below one another, gray, and the limit of each.

    The limit is the largest absolute value but for 1 %; −limit is black, 0 gray and limit white.
    """
    array = values.double().numpy()
    limits = np.quantile(np.abs(array), 0.99, axis=(1, 2))
    scaled = array / np.maximum(limits, 1e-12)[:, None, None]
    levels = np.rint((scaled.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return to_png(levels.reshape(-1, array.shape[2])), limits.tolist()


def read_upload(
    content: bytes, name: str, *, longest: int, multiple: int = 1, size: Size = "auto"
) -> ReadImage:
    """Return an image that came as bytes, on the model's grid; its name is for titles only.

    Parameters
    ----------
    content : bytes of the image's file
    name : str, as the page calls it
    longest : int, pixels to which its longer side is shrunk, with ``size="auto"``
    multiple : int, of which its sides are multiples
    size : as for :func:`latentlab.images.reading.read_image`

    Raises
    ------
    ImageError : no image, damaged, more than 60 million pixels by its header, or with
        ``size="auto"`` a side shorter than ``multiple``.
    """
    title = plain_name(name)
    with decoding(title), open_image(io.BytesIO(content), title) as opened:
        if opened.width * opened.height > _MOST_PIXELS:
            raise ImageError(
                f"{title}, an image of {opened.width}×{opened.height} pixels",
                f"at most {_MOST_PIXELS // 1_000_000} million pixels",
                "shrink it first",
            )
        if size == "auto" and min(opened.size) < multiple:
            raise ImageError(
                f"{title}, an image of {opened.width}×{opened.height} pixels",
                f"at least {multiple} pixels a side",
                "choose a larger one",
            )
        opened.filename = f"{title}.png"  # type: ignore[attr-defined]
        return read_image(opened, size=size, longest=longest, multiple=multiple)


def plain_name(name: str) -> str:
    r"""Return a name for titles: the last part of a path without suffix and control characters.

    Examples
    --------
    >>> plain_name("../../etc/passwd"), plain_name("C:\\a\\cat.jpg"), plain_name("")
    ('passwd', 'cat', 'image')
    """
    last = PurePath(name.replace("\\", "/")).name
    stem = "".join(one for one in PurePath(last).stem if one.isprintable())
    return stem[:_NAME].strip() or "image"
