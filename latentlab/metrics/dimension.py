"""Intrinsic dimension from distances to nearest neighbors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import ShapeError, UsageError

Array = NDArray[np.float64]
DROPPED = 0.1
"""Share of the largest ratios that TwoNN leaves out."""
LOWER_BOUND = 20
"""Above about this many dimensions, estimates from some thousand samples are lower bounds."""


def neighbor_distances(rows: ArrayLike, k: int) -> Array:
    """Return the distances (n, k), ascending, of rows (n, d) to their k nearest others.

    Raises
    ------
    ShapeError : fewer than k + 2 rows.

    Examples
    --------
    >>> neighbor_distances([[0.0], [1.0], [3.0], [7.0]], 2)[0].tolist()
    [1.0, 3.0]
    """
    values = np.asarray(rows, np.float64)
    if len(values) < k + 2:
        raise ShapeError(f"{len(values)} samples", f"at least {k + 2}", "pass more samples")
    values = values - values.mean(0)
    squares = np.square(values).sum(1)
    found = np.empty((len(values), k))
    for begun in range(0, len(values), 512):
        block = slice(begun, begun + 512)
        far = squares[block, None] + squares - 2 * values[block] @ values.T
        far[np.arange(len(far)), np.arange(begun, begun + len(far))] = np.inf
        nearest = np.argpartition(far, k - 1, axis=1)[:, :k]
        # The differences themselves: the squares of near rows cancel.
        exact = np.linalg.norm(values[block][:, None] - values[nearest], axis=2)
        found[block] = np.sort(exact, axis=1)
    return found


def two_nn(distances: ArrayLike) -> float:
    """Return the TwoNN dimension of distances (n, k ≥ 2) to nearest neighbors.

    −ln(1 − F) is regressed on ln(r₂/r₁) through the origin, without the largest tenth (Facco et al.
    2017). Rows with a duplicate are left out.

    Raises
    ------
    UsageError : fewer than ten rows without a duplicate.

    Examples
    --------
    >>> line = np.random.default_rng(0).random((2000, 1)) * [[1.0, 2.0, 3.0]]
    >>> round(two_nn(neighbor_distances(line, 2)), 1)
    1.0
    """
    near = np.asarray(distances, np.float64)
    near = near[near[:, 0] > 0]
    if len(near) < 10:
        raise UsageError(
            f"{len(near)} samples that differ from all others", "at least 10", "pass more samples"
        )
    ratios = np.sort(near[:, 1] / near[:, 0])
    kept = int(len(ratios) * (1 - DROPPED))
    shares = np.arange(1, kept + 1) / len(ratios)
    x, y = np.log(ratios[:kept]), -np.log(1 - shares)
    return float((x * y).sum() / (x * x).sum())


def inverse_dimensions(distances: ArrayLike, k: int) -> Array:
    """Return the inverse of Levina and Bickel's dimension (n,) at each row, from k neighbors.

    1/(k − 1) Σ ln(T_k/T_j); the dimension of a set is the inverse of their mean (MacKay and
    Ghahramani). NaN for rows with a duplicate.

    Examples
    --------
    >>> line = np.random.default_rng(0).random((2000, 1))
    >>> float(round(1 / inverse_dimensions(neighbor_distances(line, 10), 10).mean(), 1))
    1.0
    """
    near = np.asarray(distances, np.float64)[:, :k]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(near[:, -1:] / near[:, :-1])
    found: Array = logs.sum(1) / (k - 1)
    return np.where(near[:, 0] > 0, found, np.nan)
