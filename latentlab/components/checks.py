"""Checks that every solver shares: shapes, memory, variance, rank."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Neighborhood, Spectrum
from latentlab.machine.memory import check_memory

KEPT_COMPONENTS = 64
"""The default number of components to keep."""


def as_matrix(rows: Any) -> Tensor:
    """Return a Neighborhood's samples, a tensor or an array as a tensor (n, n_features).

    Raises
    ------
    ShapeError : no matrix of numbers.
    """
    if isinstance(rows, Neighborhood):
        return rows.samples
    try:
        with warnings.catch_warnings():
            # Rows are only read, so an array may be read-only, such as a memory map.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            matrix = torch.as_tensor(rows)
        shape = f"an array of shape {tuple(matrix.shape)}"
    except (TypeError, ValueError, RuntimeError):
        matrix, shape = torch.zeros(0), f"a {type(rows).__name__} that is no matrix"
    if matrix.ndim != 2:
        raise ShapeError(
            shape,
            "a matrix (n_samples, n_features)",
            "flatten each sample into one row, or pass an iterator of such chunks",
        )
    return matrix


def check_matrix_shape(n_samples: int, n_features: int) -> None:
    """Raise ShapeError unless there are two rows of at least one feature."""
    if n_samples < 2 or n_features < 1:
        raise ShapeError(
            f"{n_samples} samples of {n_features} features",
            "at least two samples, since one has no variance",
            "raise the number of samples",
        )


def check_room(side: int) -> None:
    """Raise MemoryLimitError if the eigenvalues of a matrix of this side do not fit into memory."""
    # The matrix itself and the workspace of the eigensolver.
    check_memory(
        2 * 8 * side**2,
        f"the exact PCA of a {side:,}×{side:,} matrix",
        "lower --samples, or pass --randomized (solver='randomized' in Python)",
    )


def spectrum_of(variances: Tensor, n_samples: int, n_features: int) -> Spectrum:
    """Return the complete spectrum of N rows of D features.

    Raises
    ------
    UsageError : the rows have no variance.
    """
    total = float(variances.sum())
    check_variance(total)
    return Spectrum(variances.cpu(), total, n_samples, n_features)


def check_variance(total: float) -> None:
    """Raise UsageError if the samples have no variance."""
    if not total > 0:
        raise UsageError(
            "samples that are all alike",
            "samples that differ",
            "widen the neighborhood's ranges, radius or region",
        )


def components_to_keep(n_components: int | None, spectrum: Spectrum) -> int:
    """Return how many components to keep: by default 64, or the rank if it is smaller.

    Raises
    ------
    ShapeError : more were asked for than the rank.
    """
    variances = spectrum.explained_variance
    # Smaller eigenvalues of the Gram matrix are rounding errors.
    floor = variances[0] * spectrum.n_samples * torch.finfo(torch.float64).eps
    rank = int((variances > floor).sum())
    if n_components is None:
        return min(KEPT_COMPONENTS, rank)
    check_component_count(n_components, rank, spectrum.n_samples)
    return n_components


def check_component_count(n_components: int, rank: int, n_samples: int) -> None:
    """Raise ShapeError if samples of this rank do not have that many components."""
    if not 1 <= n_components <= rank:
        raise ShapeError(
            f"{n_components} components",
            f"1 to {rank:,}, because {n_samples:,} centered samples span {rank:,} dimensions here",
            "ask for a number in this range, or for more samples",
        )
