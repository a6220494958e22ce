"""The images of a store, each at the place of its latent, with thumbnails and neighbors."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from latentlab.components.fitting import fit_pca
from latentlab.components.stores import store_rows
from latentlab.encoding.encoder import decode
from latentlab.encoding.palette import find_palette
from latentlab.errors import LatentlabError, ShapeError, UsageError
from latentlab.explorer.messages import Picture
from latentlab.explorer.pictures import plain_name, to_jpeg, to_png
from latentlab.explorer.protocol import pack, to_json
from latentlab.images.arrays import to_uint8
from latentlab.images.formats import open_image
from latentlab.images.pillow import decoding, load_upright, to_srgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentlab.latents import Progress
    from latentlab.loaders.base import LatentVAE
    from latentlab.store.reading import Store
    from latentlab.store.sources import Source

SIDE = 48
"""Pixels of a thumbnail's side."""
COLUMNS = 20
"""Thumbnails in a row, and rows, of one sheet."""
NEIGHBORS = 6
_COMPONENTS = 16
_MOST = 50_000
_BLOCK = 1024
_QUANTILE = 0.995
_LEVELS = 4
_GRAY = 128


@dataclass(frozen=True, eq=False)
class StoreMap:
    """A store as a map.

    Parameters
    ----------
    vae : LatentVAE of the store's latents
    store : Store; of several shapes the commonest is shown, and of that the first 50,000 latents
    images : Source of the images that were encoded; without it, thumbnails are previews of latents
    """

    vae: LatentVAE
    store: Store
    images: Source | None = None

    @cached_property
    def shown(self) -> Store:
        """Return the part of the store whose latents have the commonest shape."""
        shapes = self.store.shapes
        if len(shapes) <= 1:
            return self.store
        return self.store.bucket(max(shapes, key=lambda shape: shapes[shape]))

    @property
    def other_shapes(self) -> int:
        """Return how many latents are not shown because they have another shape."""
        return len(self.store) - len(self.shown)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Return the path of each image in its source."""
        return tuple(path for path, _ in zip(self.shown.paths(), range(_MOST), strict=False))

    def picture(self, number: int) -> Picture:
        """Return an image of the store as a page would send it; decoded where there are no images.

        Raises
        ------
        UsageError : there is no such image.
        FileError : it cannot be read.
        """
        if not 0 <= number < len(self.paths):
            raise UsageError(f"image {number}", f"0 to {len(self.paths) - 1}", "reload the page")
        path = self.paths[number]
        if self.images is not None:
            return Picture("image", path, self._content(path))
        pixels = to_uint8(decode(self.vae, self.shown[number])).numpy()
        return Picture("image", f"{plain_name(path)}-decoded.png", to_png(pixels))

    def _content(self, path: str) -> bytes:
        assert self.images is not None
        try:
            return self.images.read(path)
        except OSError as error:
            raise UsageError(
                f"{path}, which cannot be read in the folder of images",
                "the folder that was encoded",
                "pass it as --images",
            ) from error

    def frames(self, progress: Progress) -> Iterator[bytes]:
        """Yield the map as a frame, then sheets of thumbnails as a frame each."""
        scores, shares = self._scores(progress)
        places = scores[:, :2] / (np.quantile(np.abs(scores[:, :2]), _QUANTILE) or 1.0)
        progress("looking for neighbors", 0, 1)
        near = nearest(torch.from_numpy(scores))
        header = {
            "type": "map",
            "count": len(scores),
            "left_out": len(self.shown) - len(scores),
            "other_shapes": self.other_shapes,
            "shape": list(self.shown.shape),
            "shares": shares,
            "neighbors": near.shape[1],
            "side": SIDE,
            "columns": COLUMNS,
            "previews": self.images is None,
        }
        yield pack(
            header,
            [
                ("places", "application/octet-stream", places.astype("<f4").tobytes()),
                ("neighbors", "application/octet-stream", near.astype("<u4").tobytes()),
                ("names", "application/json", to_json(list(self.paths)).encode()),
            ],
        )
        yield from self._sheets(progress)

    def _scores(self, progress: Progress) -> tuple[NDArray[np.float64], list[float]]:
        """Return the places (n, k) along the leading components, and two shares of variance."""
        count = min(_COMPONENTS, len(self.shown) - 1, int(np.prod(self.shown.shape)))
        progress("finding places", 0, 1)
        try:
            pca = fit_pca(store_rows(self.shown, progress=progress), max(count, 1))
        except (ShapeError, UsageError):  # one image, or all of them alike: they share a place
            return np.zeros((len(self.paths), 2)), [0.0, 0.0]
        parts, left = [], len(self.paths)
        for rows in store_rows(self.shown).chunks():
            parts.append(pca.transform(rows[:left]))
            left -= len(parts[-1])
            if left <= 0:
                break
        scores = torch.cat(parts).numpy()
        if scores.shape[1] < 2:
            scores = np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))
        return scores, [float(share) for share in pca.explained_variance_ratio[:2]]

    def _sheets(self, progress: Progress) -> Iterator[bytes]:
        total, each = len(self.paths), COLUMNS**2
        tiles = self._thumbnails() if self.images is not None else self._previews()
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

    def _thumbnails(self) -> Iterator[NDArray[np.uint8]]:
        for path in self.paths:
            try:
                yield thumbnail(self._content(path), path)
            except LatentlabError:
                yield np.full((SIDE, SIDE, 3), _GRAY, np.uint8)

    def _previews(self) -> Iterator[NDArray[np.uint8]]:
        """Yield what the affine map of flat colors makes of each latent."""
        palette, left = find_palette(self.vae, _LEVELS), len(self.paths)
        for latents in self.shown.batches(_BLOCK):
            for preview in palette.preview(latents[:left]).float():
                yield _square(Pillow.fromarray(to_uint8(preview).numpy()))
            left -= len(latents)
            if left <= 0:
                return


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


def nearest(points: Tensor, count: int = NEIGHBORS) -> NDArray[np.int64]:
    """Return the nearest other points (n, k) of each point (n, d), the nearest first.

    Examples
    --------
    >>> nearest(torch.tensor([[0.0], [1.0], [3.0]]), 1).tolist()
    [[1], [0], [1]]
    """
    count = min(count, len(points) - 1)
    if count < 1:
        return np.zeros((len(points), 0), np.int64)
    found = []
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        distances = torch.cdist(block, points)
        own = torch.arange(len(block))
        distances[own, own + start] = torch.inf
        found.append(distances.topk(count, largest=False).indices)
    return torch.cat(found).numpy()
