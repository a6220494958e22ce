"""Small pictures of many images, on sheets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pillow

from latentlab.encoding.palette import find_palette
from latentlab.errors import LatentlabError
from latentlab.explorer.pictures import to_jpeg
from latentlab.explorer.protocol import pack
from latentlab.images.arrays import to_uint8
from latentlab.images.formats import open_image
from latentlab.images.pillow import decoding, load_upright, to_srgb

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from latentlab.latents import Progress
    from latentlab.loaders.base import LatentVAE

SIDE = 48
"""Pixels of a thumbnail's side."""
COLUMNS = 20
"""Thumbnails in a row, and rows, of one sheet."""
_LEVELS = 4
_GRAY = 128


def sheets(tiles: Iterable[NDArray[np.uint8]], total: int, progress: Progress) -> Iterator[bytes]:
    """Yield thumbnails (48, 48, 3) on sheets of 20 by 20, as a frame each."""
    each = COLUMNS**2
    sheet, first = _blank(), 0
    for index, tile in enumerate(tiles):
        row, column = divmod(index - first, COLUMNS)
        top, left = SIDE * row, SIDE * column
        sheet[top : top + SIDE, left : left + SIDE] = tile
        if index - first == each - 1 or index == total - 1:
            progress("drawing thumbnails", index + 1, total)
            header = {"type": "thumbnails", "first": first, "count": index - first + 1}
            yield pack(header, [("sheet", "image/jpeg", to_jpeg(sheet))])
            sheet, first = _blank(), index + 1


def thumbnails(paths: Iterable[str], read: Callable[[str], bytes]) -> Iterator[NDArray[np.uint8]]:
    """Yield the thumbnail of each image; gray where it cannot be read."""
    for path in paths:
        try:
            yield thumbnail(read(path), path)
        except LatentlabError:
            yield np.full((SIDE, SIDE, 3), _GRAY, np.uint8)


def previews(vae: LatentVAE, blocks: Iterable[Tensor]) -> Iterator[NDArray[np.uint8]]:
    """Yield what the affine map of flat colors makes of each latent of blocks (n, C, h, w)."""
    palette = find_palette(vae, _LEVELS)
    for latents in blocks:
        for preview in palette.preview(latents).float():
            yield _square(Pillow.fromarray(to_uint8(preview).numpy()))


def thumbnail(content: bytes, name: str) -> NDArray[np.uint8]:
    """Return the centered square of an image's file at the size of a thumbnail.

    Raises
    ------
    ImageError : no image, damaged or too large.
    """
    with decoding(name), open_image(io.BytesIO(content), name) as opened:
        opened.draft("RGB", (2 * SIDE, 2 * SIDE))
        upright, _ = load_upright(opened)
        return _square(to_srgb(upright)[0])


def _square(image: Pillow.Image) -> NDArray[np.uint8]:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    small = image.resize((SIDE, SIDE), Pillow.Resampling.LANCZOS, box)
    return np.asarray(small.convert("RGB"))


def _blank() -> NDArray[np.uint8]:
    return np.full((COLUMNS * SIDE, COLUMNS * SIDE, 3), _GRAY, np.uint8)
