"""Mutual information gap (Chen et al. 2018, β-TCVAE)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.metrics.mutual_information import BINS, discretize, entropy, mutual_information


def information_gaps(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS
) -> NDArray[np.float64]:
    """Return, for each factor, how far its best latent is ahead: (I₁ − I₂) / H, in [0, 1].

    Parameters
    ----------
    codes : array, (N, L)
    factors : array, (N, K); floats are binned, whole numbers are classes
    bins : int, equal-width bins of what is continuous

    Examples
    --------
    >>> grid = np.indices((5, 5)).reshape(2, -1).T
    >>> information_gaps(grid, grid).round(6).tolist()
    [1.0, 1.0]
    """
    classes = discretize(factors, bins=bins)
    information = np.sort(mutual_information(discretize(codes, bins=bins), classes), axis=0)
    second = information[-2] if len(information) > 1 else 0.0
    spread = entropy(classes)
    gaps: NDArray[np.float64] = np.divide(
        information[-1] - second, spread, out=np.zeros_like(spread), where=spread > 0
    )
    return gaps


def mig(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> float:
    """Return the mean of :func:`information_gaps` over factors.

    Examples
    --------
    >>> grid = np.indices((5, 5)).reshape(2, -1).T
    >>> mig(np.hstack((grid, grid)), grid)
    0.0
    """
    return float(information_gaps(codes, factors, bins=bins).mean())
