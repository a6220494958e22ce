"""The principal components of a whole data set's latents, read from a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from latentlab.components.checks import spectrum_of
from latentlab.components.pca import PCA
from latentlab.components.streaming import StreamedPCA, choose_method, fit_pca_rows
from latentlab.errors import UsageError
from latentlab.latents import Latent, Progress
from latentlab.layouts import Layout, TokenLayout, WholeLayout, Window
from latentlab.linalg.rows import RowStream

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.machine.distributed import Ranks
    from latentlab.store.reading import Store

PARTS: dict[str, type[Layout]] = {"whole": WholeLayout, "tokens": TokenLayout}
"""What is one row: a whole latent, or each of its cells."""

STATEMENT = {
    "whole": "Whole latents of a data set. It shows how its pictures differ, most of all in what "
    "is where; other pictures have other components.",
    "tokens": "The cells of all latents of a data set, C numbers each. It shows which mixtures of "
    "channels occur; neighboring cells are alike, so that far fewer than N are independent.",
}


def fit_store_pca(
    store: Store,
    *,
    parts: str = "whole",
    n_components: int | None = None,
    method: str = "auto",
    ranks: Ranks | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> StreamedPCA:
    """Return the principal components of a store's latents, in memory that does not grow with it.

    Directions lead away from the mean latent, which is the PCA's center.

    Parameters
    ----------
    store : Store, all of one shape
    parts : "whole", a row for each latent (D = C·h·w), or "tokens", one for each cell (D = C)
    n_components, method, ranks, seed : as for :func:`latentlab.fit_pca_rows`; where all
        eigenvalues take the Gram matrix, the first of several ranks computes it alone
    progress : called as ``progress("pass 1 over the latents", done, total)``

    Raises
    ------
    UsageError : unknown parts.
    ShapeError : latents of several shapes; and as for :func:`latentlab.fit_pca_rows`.
    FileError : a shard is missing or damaged.
    """
    if parts not in PARTS:
        raise UsageError(f"parts {parts!r}", " or ".join(PARTS), "choose one of them")
    channels, height, width = store.shape
    layout = PARTS[parts]((channels, height, width), Window(0, 0, height, width))
    whole = stream_rows(store, layout, progress=progress)
    if ranks and ranks.world > 1 and _is_for_the_first(whole, method, ranks.world):
        found = _fit_on_first(whole, n_components, ranks)
    else:
        rows = stream_rows(store, layout, ranks=ranks, progress=progress)
        found = fit_pca_rows(rows, n_components=n_components, method=method, ranks=ranks, seed=seed)
    mean = layout.lift(found.pca.mean)
    pca = replace(
        found.pca,
        neighborhood=parts if parts == "tokens" else "store",
        layout=layout,
        origin=Latent(mean, store.spec, name=f"mean of {store.folder.resolve().name}"),
        label=f"{'cells' if parts == 'tokens' else 'latents'} of {len(store):,} pictures",
    )
    return replace(found, pca=pca)


def _is_for_the_first(rows: RowStream, method: str, world: int) -> bool:
    """Return whether one process would take the Gram matrix and several could not."""
    exact = choose_method(rows) == "gram" and choose_method(rows, world) == "randomized"
    return method == "gram" or (method == "auto" and exact)


def _fit_on_first(rows: RowStream, n_components: int | None, ranks: Ranks) -> StreamedPCA:
    """Return on every rank the PCA by the Gram matrix that the first one finds.

    An entry takes rows of two shards, and ranks that share the reading have one of them.
    """
    found = None
    sizes = torch.zeros(2, dtype=torch.int64)
    if ranks.is_first:
        found = fit_pca_rows(rows, n_components=n_components, method="gram")
        spectrum = found.pca.spectrum
        sizes = torch.tensor([len(spectrum.explained_variance), len(found.pca.components)])
    known, kept = ranks.add_up(sizes, "the first rank's components").tolist()
    variances = torch.zeros(known, dtype=torch.float64)
    components, mean = torch.zeros(kept, rows.n_features), torch.zeros(rows.n_features)
    if found:
        variances, components, mean = (
            spectrum.explained_variance,
            found.pca.components,
            found.pca.mean,
        )
    for part in (variances, components, mean):
        ranks.add_up(part, "the first rank's components")
    spectrum = spectrum_of(variances, rows.n_samples, rows.n_features)
    return StreamedPCA(PCA(spectrum, components, mean), "gram")


def stream_rows(
    store: Store,
    layout: Layout,
    *,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> RowStream:
    """Return a store's rows as a stream; for ranks, of this rank's shards."""
    _, height, width = store.shape
    cells = 1 if isinstance(layout, WholeLayout) else height * width
    reader = _Reader(store, layout, cells, ranks, progress)
    return RowStream(reader, len(store) * cells, layout.n_features)


@dataclass
class _Reader:
    """Reads the rows of a store, counting how often."""

    store: Store
    layout: Layout
    cells: int
    ranks: Ranks | None
    progress: Progress | None
    passes: int = 0

    def __call__(self, rows: int) -> Iterator[Tensor]:
        self.passes += 1
        first, every = (self.ranks.rank, self.ranks.world) if self.ranks else (0, 1)
        total, done, what = len(self.store), 0, f"pass {self.passes} over the latents"
        for latents in self.store.batches(
            max(1, rows // self.cells), first_shard=first, every=every
        ):
            yield self.layout.flatten(latents)
            done += len(latents) * every
            if self.progress:
                self.progress(what, min(done, total), total)


def is_store(path: str | Path) -> bool:
    """Return whether a path is a folder with a store's ``store.json``."""
    from latentlab.store.manifest import MANIFEST

    return (Path(path) / MANIFEST).is_file()
