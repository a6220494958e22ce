"""Mutual information of latents with factors, from counts in bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import ShapeError

BINS = 20
"""Equal-width bins of a continuous variable, as in disentanglement_lib."""


def discretize(values: ArrayLike, *, bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin, 0 to bins − 1, of each value (N, K), columns apart, in equal widths.

    Whole numbers stay classes: they are numbered, not binned.

    Examples
    --------
    >>> discretize(np.array([[0.0], [0.49], [0.51], [1.0]]), bins=2)[:, 0].tolist()
    [0, 0, 1, 1]
    """
    columns = np.asarray(values)
    if columns.ndim != 2 or not len(columns):
        raise ShapeError(f"values of shape {columns.shape}", "(N, K)", "pass a matrix")
    if np.issubdtype(columns.dtype, np.integer):
        numbered = [np.unique(column, return_inverse=True)[1] for column in columns.T]
        return np.stack(numbered, axis=1).astype(np.int64)
    low, high = columns.min(0), columns.max(0)
    width = np.where(high > low, high - low, 1.0)
    binned: NDArray[np.int64] = np.minimum((columns - low) / width * bins, bins - 1).astype(
        np.int64
    )
    return binned


def mutual_information(codes: NDArray[np.int64], factors: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mutual information in nats (L, K) of each code (N, L) with each factor (N, K).

    From the counts alone, so biased high by about (bins − 1)² / 2N nats.

    Examples
    --------
    >>> coin = np.array([[0], [0], [1], [1]])
    >>> float(mutual_information(coin, coin)[0, 0].round(4))
    0.6931
    """
    return np.array([[_of_pair(code, factor) for factor in factors.T] for code in codes.T])


def entropy(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the entropy in nats (K,) of each column (N, K).

    Examples
    --------
    >>> entropy(np.array([[0, 1], [1, 1]])).round(4).tolist()
    [0.6931, 0.0]
    """
    return np.array([_of_shares(np.bincount(column) / len(column)) for column in classes.T])


def _of_pair(code: NDArray[np.int64], factor: NDArray[np.int64]) -> float:
    width = int(factor.max()) + 1
    joint = np.bincount(code * width + factor, minlength=(int(code.max()) + 1) * width)
    shares = joint.reshape(-1, width) / len(code)
    parts = _of_shares(shares.sum(1)) + _of_shares(shares.sum(0)) - _of_shares(shares.ravel())
    return max(0.0, parts)


def _of_shares(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum()) + 0.0
