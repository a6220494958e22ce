"""The latents of a store as rows for PCA: whole latents, or their cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from latentlab.errors import UsageError
from latentlab.latents import Latent, Neighborhood, Progress, Sampling
from latentlab.layouts import LAYOUTS, Layout, Window
from latentlab.linalg.rows import RowStream
from latentlab.linalg.sums import column_moments
from latentlab.machine.distributed import Ranks
from latentlab.machine.memory import allocate_matrix

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.store.reading import Store


PARTS = {
    "whole": Sampling(
        "store",
        label="latents",
        statement="Whole latents of a data set. It shows how its images differ, mostly in what is "
        "where. Other images have other components.",
    ),
    "tokens": Sampling(
        "tokens",
        label="cells",
        statement="The cells of all latents of a data set, C numbers each. It shows which mixtures "
        "of channels occur. Neighboring cells are alike, so far fewer than N are independent.",
    ),
}
"""What is one row, a whole latent or each of its cells, and what such rows can show."""


@dataclass(frozen=True, eq=False)
class StoreRows(RowStream):
    """The rows of a store; see :func:`store_rows`.

    Parameters
    ----------
    store : Store
    part : Sampling, one of :data:`PARTS`
    layout : Layout of one latent
    """

    store: Store = field(kw_only=True)
    part: Sampling = field(kw_only=True)
    layout: Layout = field(kw_only=True)

    def sampling_around(self, mean: Tensor) -> Sampling:
        """Return how these rows were drawn, around the latent that their mean (D,) stands for."""
        store, manifest = self.store, self.store.manifest
        folder = store.folder.resolve()
        origin = Latent(
            self.layout.lift(mean.float()),
            store.spec,
            name=f"mean of {folder.name}",
            record={
                "model": {**manifest.model, "dtype": manifest.dtype},
                "input": {
                    **store.summary(),
                    "store": str(folder),
                    "list_sha256": manifest.list_sha256,
                },
            },
        )
        label = f"{self.part.label} of {len(store):,} images"
        if len(store.shapes) > 1:
            label += f" of {len(store.shapes)} shapes"
        drawn = replace(self.part, layout=self.layout, origin=origin, label=label)
        return replace(drawn, n_samples=self.n_samples)


def store_rows(
    store: Store,
    parts: str = "whole",
    *,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> StoreRows:
    """Return the rows of a store's latents, for :func:`latentlab.fit_pca`.

    The origin of the directions is then the mean latent.

    Parameters
    ----------
    store : Store of latents of one shape
    parts : "whole", a row for each latent (D = C·h·w), or "tokens", one for each cell (D = C)
    ranks : Ranks that share the shards, optional
    progress : called as ``progress("pass 1 over the latents", done, total)``

    Raises
    ------
    UsageError : unknown parts.
    ShapeError : latents of different shapes.
    FileError : a shard is missing or damaged; raised when it is read.
    """
    if parts not in PARTS:
        raise UsageError(f"parts {parts!r}", " or ".join(PARTS), "choose one of them")
    several = parts == "tokens" and len(store.shapes) > 1
    # Cells of all shapes have the same channels; the commonest shape stands for the others.
    common = max(store.shapes, key=lambda one: store.shapes[one]) if several else store.shape
    channels, height, width = common
    layout = LAYOUTS[parts]((channels, height, width), Window(0, 0, height, width))
    cells = {shape: 1 if layout.grid is None else shape[1] * shape[2] for shape in store.shapes}
    ranks = ranks or Ranks()
    return StoreRows(
        _Reader(store, layout, max(cells.values()), ranks, progress),
        sum(count * cells[shape] for shape, count in store.shapes.items()),
        layout.n_features,
        ranks=ranks,
        whole=store_rows(store, parts, progress=progress) if ranks.world > 1 else None,
        store=store,
        part=PARTS[parts],
        layout=layout,
    )


def store_neighborhood(
    store: Store, parts: str = "whole", *, progress: Progress | None = None
) -> Neighborhood:
    """Return the rows of a store around their mean, in memory, for finders.

    Parameters and errors as for :func:`store_rows`.

    Raises
    ------
    MemoryLimitError : the rows fit neither into memory nor onto disk.
    """
    rows = store_rows(store, parts, progress=progress)
    matrix, done = allocate_matrix(rows.n_samples, rows.n_features), 0
    for chunk in rows.chunks():
        matrix[done : done + len(chunk)] = chunk
        done += len(chunk)
    mean, _ = column_moments(matrix)
    return Neighborhood(matrix, rows.sampling_around(mean))


@dataclass
class _Reader:
    """Reads the rows of a store, counting the passes."""

    store: Store
    layout: Layout
    cells: int
    ranks: Ranks
    progress: Progress | None
    passes: int = 0

    def __call__(self, rows: int) -> Iterator[Tensor]:
        self.passes += 1
        rank, world = self.ranks.rank, self.ranks.world
        total, done, what = len(self.store), 0, f"pass {self.passes} over the latents"
        several = len(self.store.shapes) > 1
        read = self.store.blocks if several else self.store.batches
        for latents in read(max(1, rows // self.cells), first_shard=rank, every=world):
            cells = latents.movedim(1, -1).flatten(0, -2) if several else None
            yield self.layout.flatten(latents) if cells is None else cells
            done += len(latents) * world
            if self.progress:
                self.progress(what, min(done, total), total)
