"""Principal components of a neighborhood, a matrix, a stream or a store: one function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentlab.components.checks import as_matrix, check_matrix_shape, check_room
from latentlab.components.pca import PCA
from latentlab.components.shares import count_for_share, count_or_share, leading_share
from latentlab.components.solvers import leading_components, shared_scatter, solve
from latentlab.components.stores import StoreRows, store_rows
from latentlab.errors import UsageError
from latentlab.latents import Latent, Neighborhood, Sampling
from latentlab.linalg.bases import fix_signs
from latentlab.linalg.rows import RowStream
from latentlab.neighborhoods.given import are_latents, given_neighborhood
from latentlab.store.reading import Store

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from latentlab.loaders.base import LatentVAE

    Rows = (
        Neighborhood | Sequence[Latent] | Tensor | ArrayLike | RowStream | Store | Iterator[Tensor]
    )


def fit_pca(
    x: Rows,
    n_components: float | None = None,
    solver: str = "auto",
    *,
    seed: int = 0,
    vae: LatentVAE | None = None,
) -> PCA:
    """Return the principal components of rows: centered, not scaled, sums in float64.

    Signs are fixed: the largest entry of each component is positive.

    Parameters
    ----------
    x : one of

        * a Neighborhood, or a tensor or array (n_samples, n_features);
        * a Store, whose latents are the rows, or :func:`latentlab.components.stores.store_rows`
          for its cells; a :class:`latentlab.linalg.rows.RowStream`; these are read several times,
          in memory that does not depend on N;
        * latents: an array (N, C, h, w) with ``vae``, or Latents, such as ``store[:100]``. Walks
          then start at their mean;
        * an iterator of tensors (n_i, n_features), which is read once.
    n_components : int, optional; how many components to keep, at most the rank of the centered
        rows. Default: 64, or the rank if smaller. Or a float between 0 and 1: as many as it takes
        for their share of the variance to exceed it, as in scikit-learn.
    solver : str

        * ``"gram"``: exact, the complete spectrum through the N×N Gram matrix;
        * ``"covariance"``: exact, the complete spectrum through the D×D covariance;
        * ``"exact"``: the cheaper of these two;
        * ``"krylov"``: the leading components of rows in memory by block Krylov iteration, with
          ``error_bounds`` of at most 1e-6 of the largest eigenvalue; the exact solver with a
          warning where no such bounds can be certified. The total variance is exact;
        * ``"randomized"``: the leading components by subspace iteration, with ``error_bounds``
          (Halko, Martinsson, Tropp, 0909.4061); the total variance is exact;
        * ``"auto"``: krylov if ``n_components`` is a whole number of at most a sixteenth of
          min(N, D) ≥ 2,048 and the rows are in memory; randomized for streams with min(N, D) above
          20,000; otherwise exact. Numbers that need the complete spectrum, such as the
          participation ratio or k90, need ``"exact"`` there.
    seed : int, of the krylov and the randomized solver
    vae : LatentVAE that an array of latents belongs to

    Returns
    -------
    PCA : variances in model-space units²

    Raises
    ------
    ShapeError : fewer than two rows, rows of different lengths, or more components than the rank.
    NonFiniteError : NaN or infinity among the rows.
    UsageError : all rows are identical, the solver is unknown, or latents lack their model.
    MemoryLimitError : the solver's matrix does not fit into memory.

    Examples
    --------
    >>> rows = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    >>> pca = fit_pca(rows)
    >>> pca.components.shape, pca.solver, round(float(pca.spectrum.cumulative[-1]), 6)
    (torch.Size([7, 7]), 'covariance', 1.0)
    >>> bool((pca.inverse_transform(pca.transform(rows)) - rows).abs().max() < 1e-5)
    True
    """
    count, share = count_or_share(n_components)
    if are_latents(x):
        x = given_neighborhood(x, vae)
    elif vae is not None:
        raise UsageError(
            f"vae={vae.spec.name} beside a {type(x).__name__}",
            "latents, an array (N, C, h, w), of that model",
            "leave vae out, or pass latents",
        )
    sampling = x.sampling if isinstance(x, Neighborhood) else Sampling()
    if isinstance(x, Iterator):
        found = _solve_once(x, count, solver)
    else:
        rows = _rows_of(x)
        check_matrix_shape(rows.n_samples, rows.n_features)
        found = solve(rows, count, solver, seed)
        if share is not None:
            count = count_for_share(found.spectrum, share)
            if count > len(found.components):
                found = solve(rows, count, solver, seed)
        if isinstance(rows, StoreRows):
            sampling = rows.sampling_around(found.mean)
    if share is not None:
        found = leading_share(found, share)
    return replace(
        found,
        components=fix_signs(found.components).float().cpu(),
        mean=found.mean.float().cpu(),
        sampling=replace(sampling, n_samples=found.spectrum.n_samples),
    )


def _rows_of(x: Any) -> RowStream:
    if isinstance(x, RowStream):
        return x
    if isinstance(x, Store):
        return store_rows(x)
    matrix = as_matrix(x)
    n_samples, n_features = matrix.shape
    return RowStream(matrix.split, n_samples, n_features, matrix)


def _solve_once(chunks: Iterator[Tensor], n_components: int | None, solver: str) -> PCA:
    """Return the PCA of chunks that can be read only once."""
    if solver not in ("auto", "exact", "covariance"):
        raise UsageError(
            f"solver={solver!r} for an iterator, which can be read only once",
            "auto, exact or covariance",
            "leave the solver out, or pass a RowStream",
        )
    filled = (chunk for chunk in chunks if len(chunk))
    first = next(filled, torch.zeros(0, 0))
    count = 0

    def read(_: int) -> Iterator[Tensor]:
        nonlocal count
        for chunk in chain([first], filled):
            count += len(chunk)
            yield chunk

    width = first.shape[-1]
    check_room(width)
    mean, scatter = shared_scatter(RowStream(read, 0, width), shift=first.double().mean(0))
    check_matrix_shape(count, width)
    spectrum, components = leading_components(scatter, count, width, n_components)
    return PCA(spectrum, components, mean, solver="covariance")
