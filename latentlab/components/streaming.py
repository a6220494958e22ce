"""Principal components of rows that are read again and again, never all at once.

Three ways to the same answer, by what is small: the D×D covariance in one pass, the N×N Gram
matrix in a few, or the leading components by randomized subspace iteration with a measured error.
Several ranks read a part each and add up their sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentlab.components.checks import (
    KEPT_COMPONENTS,
    check_component_count,
    check_matrix_shape,
    check_variance,
    components_to_keep,
    fix_signs,
    spectrum_of,
)
from latentlab.components.pca import PCA
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Spectrum
from latentlab.linalg.rows import RowStream, common_shift, mean_of_rows, moments_of_rows, take_rows
from latentlab.linalg.sums import (
    add_products,
    eigenpairs,
    leading_eigenpairs,
    mirror_lower,
    scatter_matrix,
)
from latentlab.machine.memory import available_memory, check_memory

if TYPE_CHECKING:
    from latentlab.machine.distributed import Ranks

LARGEST_SIDE = 20_000
"""Largest min(N, D) whose eigenvalues are all computed; 3.2 GB in float64."""

_OVERSAMPLING = 16
_PASSES = 6


@dataclass(frozen=True)
class StreamedPCA:
    """A PCA with the way it was found.

    Parameters
    ----------
    pca : PCA
    method : str, ``"covariance"``, ``"gram"`` or ``"randomized"``
    error_bounds : Tensor, (k,), float64: each of the first k eigenvalues is within so much of a
        true one; None where all are exact
    """

    pca: PCA
    method: str
    error_bounds: Tensor | None = None


def fit_pca_rows(
    rows: RowStream,
    *,
    n_components: int | None = None,
    method: str = "auto",
    ranks: Ranks | None = None,
    seed: int = 0,
) -> StreamedPCA:
    """Return the principal components of a stream of rows, in memory that does not grow with it.

    Parameters
    ----------
    rows : RowStream, (N, D)
    n_components : int, optional; how many to keep, 64 or the rank
    method : "covariance", "gram", "randomized" or "auto": covariance where D ≤ 20,000 (and
        D ≤ N), Gram where N is, else randomized
    ranks : Ranks that share the rows, optional; all of them return the same result
    seed : int, of the randomized search

    Raises
    ------
    ShapeError : fewer than two rows, or more components than their rank.
    NonFiniteError : NaN or infinity among the rows.
    UsageError : all rows alike, an unknown method, or the Gram matrix asked for by ranks.
    MemoryLimitError : the matrix does not fit.

    Notes
    -----
    Randomized: Halko, Martinsson, Tropp, 0909.4061, algorithm 4.4. Its bound is the residual
    ‖Cv − λv‖, within which a symmetric matrix has an eigenvalue (Parlett, theorem 4.5.1).

    Examples
    --------
    >>> matrix = torch.randn(500, 12, generator=torch.Generator().manual_seed(0))
    >>> stream = RowStream(matrix.split, *matrix.shape)
    >>> found = fit_pca_rows(stream)
    >>> found.method, found.pca.components.shape
    ('covariance', torch.Size([12, 12]))
    """
    if rows.n_samples < 2 or rows.n_features < 1:
        raise ShapeError(
            f"{rows.n_samples} rows of {rows.n_features} features",
            "at least two rows, since one has no variance",
            "encode more pictures",
        )
    world = ranks.world if ranks else 1
    match choose_method(rows, world) if method == "auto" else method:
        case "covariance":
            return _by_covariance(rows, n_components, ranks)
        case "gram" if world == 1:
            return _by_gram(rows, n_components)
        case "randomized":
            return _by_subspace(rows, n_components, ranks, seed)
    raise UsageError(
        f"method {method} with {world} rank{'s' if world > 1 else ''}",
        "auto, covariance, randomized, or with one rank gram",
        "leave the method out",
    )


def choose_method(rows: RowStream, world: int = 1) -> str:
    """Return the way that suits a stream of rows, of which each rank reads a part."""
    if rows.n_features <= min(LARGEST_SIDE, rows.n_samples):
        return "covariance"
    if rows.n_samples <= LARGEST_SIDE and world == 1:
        return "gram"
    return "covariance" if rows.n_features <= LARGEST_SIDE else "randomized"


def _by_covariance(rows: RowStream, n_components: int | None, ranks: Ranks | None) -> StreamedPCA:
    check_memory(
        2 * 8 * rows.n_features**2,
        f"the covariance of {rows.n_features:,} features",
        "choose --method randomized",
    )
    mean, scatter = shared_scatter(rows, ranks)
    scatter /= rows.n_samples - 1
    kept = min(n_components or KEPT_COMPONENTS, rows.n_features)
    variances, vectors = leading_eigenpairs(scatter, kept)
    spectrum = spectrum_of(
        variances[: min(rows.n_samples - 1, rows.n_features)], rows.n_samples, rows.n_features
    )
    kept = components_to_keep(n_components, spectrum)
    components = fix_signs(vectors[:, :kept].T.contiguous()).float()
    return StreamedPCA(PCA(spectrum, components, mean.float()), "covariance")


def shared_scatter(rows: RowStream, ranks: Ranks | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the scatter matrix (D, D), float64, of the rows of all ranks.

    Sums are taken about the mean of the first chunk, so that little cancels.
    """
    width = rows.n_features
    sums = torch.zeros(width, dtype=torch.float64)
    scatter = torch.zeros(width, width, dtype=torch.float64)
    shift = common_shift(rows, ranks)
    for block in rows.centered(shift):
        sums += block.sum(0)
        add_products(scatter, block.T)
    if ranks:
        ranks.add_up(sums, "the sums of all rows")
        ranks.add_up(scatter, "the products of all rows")
    difference = sums / rows.n_samples
    scatter.addr_(difference, difference, alpha=-rows.n_samples)
    return shift + difference, mirror_lower(scatter)


def _by_gram(rows: RowStream, n_components: int | None) -> StreamedPCA:
    """Return the PCA through the Gram matrix of blocks of rows, each with all that follow."""
    side = rows.n_samples
    check_memory(2 * 8 * side**2, f"the products of {side:,} rows", "choose --method randomized")
    mean, gram = streamed_gram(rows)
    gram /= side - 1
    kept = min(n_components or KEPT_COMPONENTS, side - 1)
    variances, vectors = leading_eigenpairs(gram, kept)
    spectrum = spectrum_of(variances[: min(side - 1, rows.n_features)], side, rows.n_features)
    kept = components_to_keep(n_components, spectrum)
    weights = vectors[:, :kept].T.contiguous()
    components = torch.zeros(kept, rows.n_features, dtype=torch.float64)
    done = 0
    for block in rows.centered(mean):
        components.addmm_(weights[:, done : done + len(block)], block)
        done += len(block)
    components /= components.norm(dim=1, keepdim=True)
    return StreamedPCA(PCA(spectrum, fix_signs(components).float(), mean.float()), "gram")


def streamed_gram(rows: RowStream) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the Gram matrix (N, N), float64, of the centered rows.

    As many rows as a quarter of the memory holds are kept at a time while the later ones pass by.
    """
    mean = mean_of_rows(rows)
    side, width = rows.n_samples, rows.n_features
    gram = torch.zeros(side, side, dtype=torch.float64)
    together = max(rows.chunk, int(available_memory() // 4 // (8 * width)))
    for top in range(0, side, together):
        held = take_rows(rows, top, together, mean)
        done = 0
        for block in rows.centered(mean):
            below, done = slice(done, done + len(block)), done + len(block)
            if below.stop > top:
                products = block @ held.T
                gram[below, top : top + len(held)] = products
                gram[top : top + len(held), below] = products.T
    return mean, gram


def _by_subspace(
    rows: RowStream, n_components: int | None, ranks: Ranks | None, seed: int
) -> StreamedPCA:
    """Return the leading components by subspace iteration, one pass over the rows for each step."""
    limit = min(rows.n_samples - 1, rows.n_features)
    wanted = min(KEPT_COMPONENTS, limit) if n_components is None else n_components
    check_component_count(wanted, limit, rows.n_samples)
    width = min(wanted + _OVERSAMPLING, limit)
    check_memory(
        4 * 8 * rows.n_features * width,
        f"{width} directions of {rows.n_features:,} features",
        "lower --components",
    )
    mean, total = moments_of_rows(rows, ranks)
    check_variance(total)
    generator = torch.Generator().manual_seed(seed)
    basis = image = torch.randn(rows.n_features, width, dtype=torch.float64, generator=generator)
    for step in range(_PASSES):
        basis = torch.linalg.qr(image)[0]
        image = _covariance_times(rows, basis, mean, ranks, f"step {step + 1} of {_PASSES}")
    variances, rotation = eigenpairs(basis.T @ image)
    vectors, images = basis @ rotation, image @ rotation
    found = Spectrum(variances, total, rows.n_samples, rows.n_features)
    kept = components_to_keep(n_components, found)
    bounds = (images - vectors * variances).norm(dim=0)[:kept]
    spectrum = replace(found, explained_variance=variances[:kept])
    components = fix_signs(vectors[:, :kept].T.contiguous()).float()
    return StreamedPCA(PCA(spectrum, components, mean.float()), "randomized", bounds)


def _covariance_times(
    rows: RowStream, basis: Tensor, mean: Tensor, ranks: Ranks | None, what: str
) -> Tensor:
    """Return the covariance (D, D) times a basis (D, k), without the covariance."""
    product = torch.zeros_like(basis)
    for block in rows.centered(mean):
        product.addmm_(block.T, block @ basis)
    if ranks:
        ranks.add_up(product, what)
    return product / (rows.n_samples - 1)


def fit_pca_stream(chunks: Iterable[Tensor], *, n_components: int | None = None) -> PCA:
    """Principal components of rows that arrive in chunks, exact, in memory for D×D numbers.

    Parameters
    ----------
    chunks : tensors (n_i, n_features), read once
    n_components : int, optional; as for :func:`fit_pca`

    Raises
    ------
    ShapeError, NonFiniteError, UsageError : as for :func:`fit_pca`.
    """
    counted = _RowCounter(chunks)
    mean, scatter = scatter_matrix(counted)
    check_matrix_shape(counted.rows, len(mean))
    scatter /= counted.rows - 1
    wanted = min(n_components or KEPT_COMPONENTS, len(mean))
    variances, vectors = leading_eigenpairs(scatter, wanted)
    rank = min(counted.rows - 1, len(mean))
    spectrum = spectrum_of(variances[:rank], counted.rows, len(mean))
    kept = components_to_keep(n_components, spectrum)
    return PCA(spectrum, fix_signs(vectors[:, :kept].T).float(), mean.float())


class _RowCounter:
    """Pass non-empty chunks through and count their rows."""

    def __init__(self, chunks: Iterable[Tensor]) -> None:
        self.chunks = chunks
        self.rows = 0

    def __iter__(self) -> Iterator[Tensor]:
        width = None
        for chunk in self.chunks:
            width = chunk.shape[-1] if width is None else width
            if chunk.ndim != 2 or chunk.shape[1] != width:
                raise ShapeError(
                    f"a chunk of shape {tuple(chunk.shape)}",
                    f"(rows, {width}) like the first",
                    "pass matrices with the same features",
                )
            self.rows += len(chunk)
            if len(chunk):
                yield chunk
