"""Mutual information of latents with factors, from counts in bins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import ShapeError
from latentlab.metrics.varying import are_classes

BINS = 20
"""Equal-width bins of a continuous variable, as in disentanglement_lib."""


def discretize(values: ArrayLike, *, bins: int = BINS) -> NDArray[np.int64]:
    """Return the bin, 0 to bins − 1, of each value (N, K), columns apart, in equal widths.

    Classes are numbered, not binned; see :func:`latentlab.metrics.varying.are_classes`.

    Examples
    --------
    >>> discretize(np.array([[0.0], [0.49], [0.51], [1.0]]), bins=2)[:, 0].tolist()
    [0, 0, 1, 1]
    """
    columns = np.asarray(values)
    if columns.ndim != 2 or not len(columns):
        raise ShapeError(f"values of shape {columns.shape}", "(N, K)", "pass a matrix")
    return np.stack(
        [
            np.unique(column, return_inverse=True)[1].astype(np.int64)
            if numbered
            else _bins_of(column, bins)
            for column, numbered in zip(columns.T, are_classes(columns), strict=True)
        ],
        axis=1,
    )


def _bins_of(column: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    low, high = column.min(), column.max()
    width = high - low if high > low else 1.0
    binned: NDArray[np.int64] = np.minimum((column - low) / width * bins, bins - 1).astype(np.int64)
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
    return _information(codes, factors, _of_counts)


def corrected_information(
    codes: NDArray[np.int64], factors: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mutual information (L, K) from entropies that count the bins not seen yet.

    Chao and Shen 2003: the share of the distribution that the N samples have not seen is the share
    of values that occur once. With 20 bins and N = 200, nearly without bias for dependent pairs.
    """
    return _information(codes, factors, _of_counts_corrected)


def shuffled_information(
    codes: NDArray[np.int64], factors: NDArray[np.int64], *, permutations: int = 20, seed: int = 0
) -> NDArray[np.float64]:
    """Return the mutual information (permutations, L, K) with the factors' rows shuffled."""
    rng = np.random.default_rng(seed)
    shuffles = (rng.permutation(factors) for _ in range(permutations))
    return np.stack([mutual_information(codes, some) for some in shuffles])


def entropy(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the entropy in nats (K,) of each column (N, K).

    Examples
    --------
    >>> entropy(np.array([[0, 1], [1, 1]])).round(4).tolist()
    [0.6931, 0.0]
    """
    return np.array([_of_counts(np.bincount(column)) for column in classes.T])


def corrected_entropy(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the entropy (K,) with the correction of :func:`corrected_information`."""
    return np.array([_of_counts_corrected(np.bincount(column)) for column in classes.T])


Entropy = Callable[[NDArray[np.int64]], float]


def _information(
    codes: NDArray[np.int64], factors: NDArray[np.int64], of_counts: Entropy
) -> NDArray[np.float64]:
    return np.array(
        [[_of_pair(code, factor, of_counts) for factor in factors.T] for code in codes.T]
    )


def _of_pair(code: NDArray[np.int64], factor: NDArray[np.int64], of_counts: Entropy) -> float:
    width = int(factor.max()) + 1
    joint = np.bincount(code * width + factor, minlength=(int(code.max()) + 1) * width)
    table = joint.reshape(-1, width)
    parts = of_counts(table.sum(1)) + of_counts(table.sum(0)) - of_counts(joint)
    return max(0.0, parts)


def _of_counts(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def _of_counts_corrected(counts: NDArray[np.int64]) -> float:
    seen, total = counts[counts > 0], counts.sum()
    # Where every value occurs once, nothing can be said about the rest: one is taken as repeated.
    once = min((seen == 1).sum(), total - 1)
    shares = (1 - once / total) * seen / total
    # 1 − (1 − p)ⁿ is the chance that a value was seen at all.
    return float(-(shares * np.log(shares) / -np.expm1(total * np.log1p(-shares))).sum()) + 0.0
