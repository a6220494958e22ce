"""The table of scores of a run, its scatter, and the most extreme images of a store."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentlab.components.pca import PCA
from latentlab.components.scores import spread_out
from latentlab.encoding.encoder import decode_each
from latentlab.figures.canvas import new_figure, write_figure
from latentlab.figures.scatter import draw_scatter
from latentlab.figures.sheets import compose_sheet, square_tile
from latentlab.images.arrays import to_uint8
from latentlab.images.reading import save_png
from latentlab.layouts import WholeLayout
from latentlab.results.scores import NAME, Scored, write_scores
from latentlab.store.opening import open_source
from latentlab.store.preparing import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentlab.components.stores import StoreRows
    from latentlab.images.fit import Fit
    from latentlab.latents import Neighborhood
    from latentlab.loaders.base import LatentVAE
    from latentlab.store.sources import Source

    Pixels = NDArray[np.uint8]
    Show = Callable[[str], Pixels | None]

_THUMBNAILS = 12
_TILE = 128


@dataclass(frozen=True)
class SavedScores:
    """What was written, and the names of the extreme rows for ``pca.json``."""

    files: tuple[Path, ...]
    facts: Mapping[str, Any]


def save_sample_scores(
    vae: LatentVAE, hood: Neighborhood, pca: PCA, folder: Path, figure_format: str = "png"
) -> SavedScores:
    """Write ``scores.csv`` and ``scores.png`` of a neighborhood; some samples are decoded."""
    names = (str(row) for row in range(hood.n_samples))
    factors = {} if hood.layout.grid else hood.factors
    chunks = torch.split(hood.samples, 256)
    total = hood.n_samples
    scored = write_scores(folder / NAME, pca, chunks, names, total=total, factors=factors)
    shown: dict[int, Pixels] = {}
    if _is_whole(hood) and len(pca.components) > 1:
        chosen = spread_out(scored.points, _THUMBNAILS)
        latents = hood.samples[[scored.rows[point] for point in chosen]]
        latents = latents.reshape(len(chosen), *hood.origin.values.shape)
        images = (to_uint8(image).numpy() for image in decode_each(vae, latents))
        shown = dict(zip(chosen, images, strict=True))
    return SavedScores((scored.path, *_save_scatter(pca, scored, shown, folder, figure_format)), {})


def _is_whole(hood: Neighborhood) -> bool:
    """Return whether a row is a whole latent, which can be decoded."""
    whole = hood.origin.values.numel() == hood.n_features
    return isinstance(hood.layout, WholeLayout) and whole


def save_store_scores(
    rows: StoreRows,
    pca: PCA,
    folder: Path,
    images: Path | None = None,
    figure_format: str = "png",
) -> SavedScores:
    """Write ``scores.csv``, ``scores.png`` and the names of the extreme images of a store.

    With the folder of the images, some are drawn in the scatter, and ``extremes.png`` shows those
    with the lowest and the highest scores.
    """
    scored = write_scores(
        folder / NAME,
        pca,
        rows.chunks(),
        iter(rows.store.paths()),
        total=rows.n_samples,
        first="path",
    )
    files = [scored.path]
    show = partial(_read, open_source(images), rows.store.manifest.fit) if images else None
    shown: dict[int, Pixels] = {}
    if show is not None:
        chosen = spread_out(scored.points, _THUMBNAILS) if scored.points.shape[1] > 1 else []
        found = {point: show(scored.names[point]) for point in chosen}
        shown = {point: pixels for point, pixels in found.items() if pixels is not None}
        if missing := [scored.names[point] for point in found if point not in shown]:
            warnings.warn(
                f"{len(missing)} of the {len(found)} images to be shown cannot be read in "
                f"{images}, such as {missing[0]}: pass the folder that was encoded as --images",
                stacklevel=2,
            )
        files += _save_extremes(pca, scored, show, folder)
    files += _save_scatter(pca, scored, shown, folder, figure_format)
    return SavedScores(tuple(files), {"extremes": scored.extremes.names()})


def _read(source: Source, fit: Fit, name: str) -> Pixels | None:
    """Return an image of the source as it was encoded; None if it cannot be read any more."""
    return prepare(source, fit, name).levels


def _save_scatter(
    pca: PCA, scored: Scored, shown: Mapping[int, Pixels], folder: Path, figure_format: str
) -> list[Path]:
    if scored.points.shape[1] < 2:
        return []
    figure = new_figure()
    first, second = (float(share) for share in pca.explained_variance_ratio[:2])
    draw_scatter(
        scored.points.numpy(),
        shown,
        labels=(f"PC 1, {first:.1%}", f"PC 2, {second:.1%}"),
        title=pca.title,
        ax=figure.add_subplot(),
    )
    return [write_figure(folder, "scores", figure, figure_format)]


def _save_extremes(pca: PCA, scored: Scored, show: Show, folder: Path) -> list[Path]:
    """Write the extreme images of each component as a sheet: the lowest, then the highest."""
    ends = scored.extremes.names()
    count = max((len(one["lowest"]) for one in ends.values()), default=0)
    ordered = [[*one["lowest"], *reversed(one["highest"])] for one in ends.values()]
    rows = [[square_tile(show(name), _TILE) for name in names] for names in ordered]
    if not count:
        return []
    labels = ["lowest", *[""] * (count - 1), *[""] * (count - 1), "highest"]
    sheet = compose_sheet(
        rows,
        row_labels=[
            f"{label}\n{float(share):.1%}"
            for label, share in zip(ends, pca.explained_variance_ratio, strict=False)
        ],
        column_labels=labels[: max(map(len, rows))],
        title=pca.title,
    )
    return [save_png(folder / "extremes.png", sheet)]
