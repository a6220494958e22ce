"""Solvers for the same components, chosen by the shape of the rows and what is asked for.

The D×D covariance takes one pass over the rows, the N×N Gram matrix a few. Block Krylov iteration
finds few components of rows in memory and certifies them (:mod:`latentlab.components.leading`);
randomized subspace iteration finds those of any rows and measures their error. Sums are in float64,
if not said otherwise. If several ranks share the rows, each reads a part of them, and their sums
are added up.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from latentlab.components.checks import (
    KEPT_COMPONENTS,
    check_component_count,
    check_room,
    check_variance,
    components_to_keep,
    spectrum_of,
)
from latentlab.components.leading import by_krylov, suits, warn_of_exact
from latentlab.components.pca import PCA
from latentlab.errors import UsageError
from latentlab.latents import Spectrum
from latentlab.linalg.rows import (
    RowStream,
    common_shift,
    mean_of_rows,
    moments_of_rows,
    take_rows,
)
from latentlab.linalg.sums import (
    add_products,
    combine_rows,
    eigenpairs,
    gram_matrix,
    leading_eigenpairs,
    mirror_lower,
)
from latentlab.machine.memory import available_memory, check_memory

LARGEST_SIDE = 20_000
"""Largest min(N, D) of a stream whose eigenvalues are all computed; 3.2 GB in float64."""

SOLVERS = ("auto", "exact", "covariance", "gram", "krylov", "randomized")
_OVERSAMPLING = 16
_PASSES = 6


def solve(rows: RowStream, n_components: int | None, solver: str, seed: int) -> PCA:
    """Return the components of rows by the solver of this name; ``"auto"`` chooses one.

    Signs are arbitrary, and mean and components may be float64.
    """
    match _named(solver, rows, n_components):
        case "krylov" if rows.matrix is not None:
            return _leading_or_all(rows, rows.matrix, n_components, seed)
        case "covariance":
            return by_covariance(rows, n_components)
        case "gram" if rows.ranks.world == 1:
            return by_gram(rows, n_components)
        case "gram" if rows.whole is not None:
            return _gram_on_first(rows, rows.whole, n_components)
        case "randomized":
            return by_subspace(rows, n_components, seed)
    ranks = f" with {rows.ranks.world} ranks" if rows.ranks.world > 1 else ""
    where = " for rows that are not in memory" if solver == "krylov" else ""
    without = {name for name, reason in (("gram", ranks), ("krylov", where)) if reason}
    raise UsageError(
        f"solver={solver!r}{where}{ranks}",
        f"one of {', '.join(name for name in SOLVERS if name not in without)}",
        "leave the solver out",
    )


def _named(solver: str, rows: RowStream, n_components: int | None) -> str:
    """Return the solver that "auto" or "exact" stands for here."""
    if solver == "auto" and suits(rows, n_components):
        return "krylov"
    if solver not in ("auto", "exact"):
        return solver
    chosen = choose_solver(rows)
    if chosen == "randomized" and solver == "exact":
        return "covariance" if rows.n_features <= rows.n_samples else "gram"
    return chosen


def choose_solver(rows: RowStream) -> str:
    """Return the name of the cheapest solver for the spectrum of these rows."""
    n_samples, n_features = rows.n_samples, rows.n_features
    if rows.matrix is not None:
        return "gram" if n_samples <= n_features else "covariance"
    if n_features <= min(LARGEST_SIDE, n_samples):
        return "covariance"
    if n_samples <= LARGEST_SIDE and rows.ranks.world == 1:
        return "gram"
    if n_features <= LARGEST_SIDE:
        return "covariance"
    return "gram" if n_samples <= LARGEST_SIDE and rows.whole is not None else "randomized"


def _leading_or_all(rows: RowStream, matrix: Tensor, n_components: int | None, seed: int) -> PCA:
    """Return certified leading components, or all of them where no certificate is found."""
    limit = min(rows.n_samples - 1, rows.n_features)
    wanted = min(KEPT_COMPONENTS, limit) if n_components is None else n_components
    found = by_krylov(rows, matrix, wanted, seed)
    if found is None:
        found = solve(rows, n_components, "exact", seed)
        warn_of_exact(found.solver)
    return found


def by_covariance(rows: RowStream, n_components: int | None) -> PCA:
    """Return the components through the D×D covariance."""
    check_room(rows.n_features)
    mean, scatter = shared_scatter(rows)
    spectrum, components = leading_components(
        scatter, rows.n_samples, rows.n_features, n_components
    )
    return PCA(spectrum, components, mean, solver="covariance")


def by_gram(rows: RowStream, n_components: int | None) -> PCA:
    """Return the components through the N×N Gram matrix of the centered rows."""
    check_room(rows.n_samples)
    mean, gram = streamed_gram(rows) if rows.matrix is None else gram_matrix(rows.matrix)
    spectrum, weights = leading_components(gram, rows.n_samples, rows.n_features, n_components)
    if rows.matrix is not None:
        return PCA(spectrum, combine_rows(weights, rows.matrix, mean), mean, solver="gram")
    components = torch.zeros(len(weights), rows.n_features, dtype=torch.float64)
    done = 0
    for block in rows.centered(mean):
        components.addmm_(weights[:, done : done + len(block)], block)
        done += len(block)
    components /= components.norm(dim=1, keepdim=True)
    return PCA(spectrum, components, mean, solver="gram")


def by_subspace(rows: RowStream, n_components: int | None, seed: int) -> PCA:
    """Return the leading components by subspace iteration, one pass over the rows a step.

    Source: Halko, Martinsson, Tropp, 0909.4061, algorithm 4.4. The bound is the residual
    ‖Cv − λv‖, within which a symmetric matrix has an eigenvalue (Parlett, theorem 4.5.1).
    """
    limit = min(rows.n_samples - 1, rows.n_features)
    wanted = min(KEPT_COMPONENTS, limit) if n_components is None else n_components
    check_component_count(wanted, limit, rows.n_samples)
    width = min(wanted + _OVERSAMPLING, limit)
    check_memory(
        4 * 8 * rows.n_features * width,
        f"{width} directions of {rows.n_features:,} features",
        "lower --components",
    )
    mean, total = moments_of_rows(rows)
    check_variance(total)
    generator = torch.Generator().manual_seed(seed)
    basis = image = torch.randn(rows.n_features, width, dtype=torch.float64, generator=generator)
    for step in range(_PASSES):
        basis = torch.linalg.qr(image)[0]
        image = _covariance_times(rows, basis, mean, f"step {step + 1} of {_PASSES}")
    variances, rotation = eigenpairs(basis.T @ image)
    vectors, images = basis @ rotation, image @ rotation
    found = Spectrum(variances, total, rows.n_samples, rows.n_features)
    kept = components_to_keep(n_components, found)
    bounds = (images - vectors * variances).norm(dim=0)[:kept]
    spectrum = replace(found, explained_variance=variances[:kept])
    components = vectors[:, :kept].T.contiguous()
    return PCA(spectrum, components, mean, solver="randomized", error_bounds=bounds)


def shared_scatter(rows: RowStream, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the scatter matrix (D, D), float64, of the rows of all ranks.

    Sums are taken about a shift (D,), by default the mean of the first chunk, so that they lose
    few digits to cancellation.
    """
    width = rows.n_features
    sums = torch.zeros(width + 1, dtype=torch.float64)
    scatter = torch.zeros(width, width, dtype=torch.float64)
    shift = common_shift(rows) if shift is None else shift
    for block in rows.centered(shift):
        sums[:-1] += block.sum(0)
        sums[-1] += len(block)
        add_products(scatter, block.T)
    rows.ranks.add_up(sums, "the sums of all rows")
    rows.ranks.add_up(scatter, "the products of all rows")
    difference = sums[:-1] / sums[-1]
    scatter.addr_(difference, difference, alpha=-float(sums[-1]))
    return shift + difference, mirror_lower(scatter)


def streamed_gram(rows: RowStream) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the Gram matrix (N, N), float64, of the centered rows.

    A block of rows that fills a quarter of the memory is kept while the later rows are read.
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


def leading_components(
    scatter: Tensor, n_samples: int, n_features: int, n_components: int | None
) -> tuple[Spectrum, Tensor]:
    """Return the complete spectrum of a scatter or Gram matrix, and its leading eigenvectors."""
    scatter /= n_samples - 1
    wanted = min(n_components or KEPT_COMPONENTS, len(scatter))
    variances, vectors = leading_eigenpairs(scatter, wanted)
    spectrum = spectrum_of(variances[: min(n_samples - 1, n_features)], n_samples, n_features)
    kept = components_to_keep(n_components, spectrum)
    return spectrum, vectors[:, :kept].T.contiguous()


def _covariance_times(rows: RowStream, basis: Tensor, mean: Tensor, what: str) -> Tensor:
    """Return the covariance (D, D) times a basis (D, k), without forming the covariance."""
    product = torch.zeros_like(basis)
    for block in rows.centered(mean):
        product.addmm_(block.T, block @ basis)
    rows.ranks.add_up(product, what)
    return product / (rows.n_samples - 1)


def _gram_on_first(rows: RowStream, whole: RowStream, n_components: int | None) -> PCA:
    """Return on every rank the PCA by the Gram matrix, which rank 0 computes.

    An entry needs two rows, and a rank reads only its own part of them.
    """
    sizes = torch.zeros(2, dtype=torch.int64)
    found = None
    if rows.ranks.is_first:
        found = by_gram(whole, n_components)
        spectrum = found.spectrum
        sizes = torch.tensor([len(spectrum.explained_variance), len(found.components)])
    what = "the components of rank 0"
    known, kept = rows.ranks.add_up(sizes, what).tolist()
    if found:
        parts = [found.spectrum.explained_variance, found.components, found.mean]
    else:
        shapes = (known,), (kept, rows.n_features), (rows.n_features,)
        parts = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
    variances, components, mean = (rows.ranks.add_up(part, what) for part in parts)
    spectrum = spectrum_of(variances, rows.n_samples, rows.n_features)
    return PCA(spectrum, components, mean, solver="gram")
