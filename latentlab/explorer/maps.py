"""The images of a store, each at the place of its latent, with thumbnails and neighbors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentlab.components.fitting import fit_pca
from latentlab.components.stores import store_rows
from latentlab.encoding.encoder import decode
from latentlab.errors import ShapeError, UsageError
from latentlab.explorer.colorings import Coloring, colorings_of
from latentlab.explorer.comparisons import COMPARISONS, Comparer
from latentlab.explorer.messages import Picture
from latentlab.explorer.pictures import plain_name, to_png
from latentlab.explorer.protocol import pack, to_json
from latentlab.explorer.thumbnails import COLUMNS, SIDE, previews, sheets, thumbnails
from latentlab.images.arrays import to_uint8
from latentlab.linalg.embedding import (
    EMBEDDINGS,
    FEWEST,
    check_embedding,
    embed,
    neighbors_of,
    perplexity_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentlab.latents import Progress
    from latentlab.loaders.base import LatentVAE
    from latentlab.store.reading import Store
    from latentlab.store.sources import Source

METHODS = ("pca", *EMBEDDINGS)
NEIGHBORS = 6
_COMPONENTS = 16
_MOST = 50_000
_BLOCK = 1024
_QUANTILE = 0.995


@dataclass(frozen=True, eq=False)
class StoreMap:
    """A store as a map.

    Of several shapes the commonest is shown, and of many latents a random sample, in their order:
    50,000, or as many as the method places in half a minute.

    Parameters
    ----------
    vae : LatentVAE of the store's latents
    store : Store
    images : Source of the images that were encoded; without it, thumbnails are previews of latents
    method : ``"pca"`` (the first two components), ``"tsne"`` or ``"umap"``
    seed : int, of the sample and of the method

    Raises
    ------
    UsageError : an unknown method.
    MissingExtraError : ``"umap"`` without umap-learn.
    """

    vae: LatentVAE
    store: Store
    images: Source | None = None
    method: str = "pca"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            expected = f"one of {', '.join(METHODS)}"
            raise UsageError(f"the map {self.method!r}", expected, "choose one of them")
        if self.method != "pca":
            check_embedding(self.method)

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
    def chosen(self) -> NDArray[np.int64]:
        """Return the positions, ascending, of the latents that have a place."""
        most, total = EMBEDDINGS.get(self.method, _MOST), len(self.shown)
        if total <= most:
            return np.arange(total)
        return np.sort(np.random.default_rng(self.seed).choice(total, most, replace=False))

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Return the path of each image in its source."""
        wanted = iter(self.chosen.tolist())
        found, following = [], next(wanted, None)
        for position, path in enumerate(self.shown.paths()):
            if position == following:
                found.append(path)
                following = next(wanted, None)
        return tuple(found)

    @cached_property
    def colorings(self) -> tuple[Coloring, ...]:
        """Return by what images can be colored; without images, by their latents alone."""
        by_latent = colorings_of(self.shown.spec.channels)
        return by_latent if self.images is None else (*by_latent, *COMPARISONS)

    @cached_property
    def _comparer(self) -> Comparer:
        assert self.images is not None
        return Comparer(self.vae, self.shown, self.images)

    def latents(self) -> Iterator[Tensor]:
        """Yield the latents that have a place, in blocks (n, C, h, w)."""
        begun = 0
        for block in self.shown.batches(_BLOCK):
            first, last = np.searchsorted(self.chosen, (begun, begun + len(block)))
            numbers = torch.from_numpy(self.chosen[first:last] - begun)
            begun += len(block)
            if len(numbers):
                yield block[numbers]

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
        pixels = to_uint8(decode(self.vae, self.shown[int(self.chosen[number])])).numpy()
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
        places, how = self._places(scores, progress)
        places = places / (np.quantile(np.abs(places), _QUANTILE) or 1.0)
        progress("looking for neighbors", 0, 1)
        near = nearest(torch.from_numpy(scores))
        header = {
            "type": "map",
            "count": len(scores),
            "left_out": len(self.shown) - len(scores),
            "other_shapes": self.other_shapes,
            "shape": list(self.shown.shape),
            "shares": shares,
            "components": scores.shape[1],
            **how,
            "neighbors": near.shape[1],
            "side": SIDE,
            "columns": COLUMNS,
            "previews": self.images is None,
            "colorings": [one.describe() for one in self.colorings],
        }
        yield pack(
            header,
            [
                ("places", "application/octet-stream", places.astype("<f4").tobytes()),
                ("neighbors", "application/octet-stream", near.astype("<u4").tobytes()),
                ("names", "application/json", to_json(list(self.paths)).encode()),
            ],
        )
        yield from sheets(self._tiles(), len(self.paths), progress)

    def _scores(self, progress: Progress) -> tuple[NDArray[np.float64], list[float]]:
        """Return the places (n, k) along the leading components, and their shares of variance."""
        count = min(_COMPONENTS, len(self.shown) - 1, int(np.prod(self.shown.shape)))
        progress("finding places", 0, 1)
        try:
            pca = fit_pca(store_rows(self.shown, progress=progress), max(count, 1))
        except (ShapeError, UsageError):  # one image, or all of them alike: they share a place
            return np.zeros((len(self.paths), 2)), [0.0, 0.0]
        rows = [pca.transform(block.flatten(1)) for block in self.latents()]
        scores = torch.cat(rows).numpy()
        shares = [float(share) for share in pca.explained_variance_ratio]
        if scores.shape[1] < 2:
            return np.pad(scores, ((0, 0), (0, 2 - scores.shape[1]))), [*shares, 0.0]
        return scores, shares

    def _places(
        self, scores: NDArray[np.float64], progress: Progress
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Return the places (n, 2), and how they were found."""
        method, count = self.method, len(scores)
        if method == "pca" or count < FEWEST or not scores.any():
            return scores[:, :2], {"method": "pca", "seed": self.seed}
        progress(f"placing {count:,} images by {'t-SNE' if method == 'tsne' else 'UMAP'}", 0, 1)
        near = perplexity_of(count) if method == "tsne" else neighbors_of(count)
        how = {"method": method, "seed": self.seed, "near": near}
        return embed(scores, method, self.seed), how

    def _tiles(self) -> Iterator[NDArray[np.uint8]]:
        if self.images is None:
            return previews(self.vae, self.latents())
        return thumbnails(self.paths, self._content)

    def color(self, name: str, progress: Progress, numbers: Sequence[int] = ()) -> bytes:
        """Return the values of a coloring as a frame: one float32 an image, NaN where it has none.

        Parameters
        ----------
        name : str
        progress : called as ``progress(what, done, total)``
        numbers : images to decode, for a coloring that needs it; others keep what they have

        Raises
        ------
        UsageError : no such coloring.
        """
        found = next((one for one in self.colorings if one.name == name), None)
        if found is None:
            raise UsageError(f"the color {name!r}", "one that the page offers", "reload the page")
        values, more = self._values_of(found, numbers, progress)
        header = {"type": "colors", **found.describe(), **more}
        content = np.asarray(values, "<f4").tobytes()
        return pack(header, [("values", "application/octet-stream", content)])

    def _values_of(
        self, coloring: Coloring, numbers: Sequence[int], progress: Progress
    ) -> tuple[Sequence[float] | NDArray[np.float64], dict[str, Any]]:
        """Return a value an image, and of how many images it was measured."""
        count, stride = len(self.paths), self.shown.spec.stride
        if coloring.measure is None:
            chosen = [one for one in numbers if one < count]
            places = {one: (int(self.chosen[one]), self.paths[one]) for one in chosen}
            self._comparer.measure(places, progress)
            measured = len(self._comparer.measured())
            return self._comparer.values(coloring.name, count), {"measured": measured}
        values: list[float] = []
        for block in self.latents():
            for latent in block:
                values.append(coloring.measure(latent, stride))
                progress(f"measuring {coloring.label}", len(values), count)
        return values, {"measured": count}


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
