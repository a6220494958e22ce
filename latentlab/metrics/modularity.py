"""Modularity (Ridgeway and Mozer 2018): whether each latent depends on one factor only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.metrics.mutual_information import (
    BINS,
    discretize,
    mutual_information,
    shuffled_information,
)
from latentlab.metrics.varying import keep_varying


def modularity(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS, seed: int = 0) -> float:
    """Return the mean over latents of 1 − Σ_{k≠best} I² / (I²_best (K − 1)), in [0, 1].

    I is the mutual information beyond its mean with the factors' rows shuffled. A latent counts 0
    if its largest one is below the 95 % quantile of the largest of all pairs with shuffled rows:
    information estimated from counts is never exactly zero. Factors that never vary are left out.

    Parameters
    ----------
    codes : array, (N, L)
    factors : array, (N, K); floats are binned, whole numbers are classes
    seed : int, of the shuffles

    Raises
    ------
    UsageError : no factor varies.

    Examples
    --------
    >>> grid = np.indices((5, 5)).reshape(2, -1).T
    >>> modularity(grid, grid)
    1.0
    """
    z, v = discretize(codes, bins=bins), discretize(keep_varying(factors), bins=bins)
    found = mutual_information(z, v)
    shuffled = shuffled_information(z, v, permutations=100, seed=seed)
    tells = found.max(1) > np.quantile(shuffled.max((1, 2)), 0.95)
    return modularity_of((found - shuffled.mean(0)).clip(0) * tells[:, None])


def modularity_of(information: NDArray[np.float64]) -> float:
    """Return the modularity of a table of mutual information (L, K); an empty latent counts 0.

    Examples
    --------
    >>> modularity_of(np.vstack((np.eye(2), np.zeros((1, 2))))) == 2 / 3
    True
    """
    squares = np.square(information)
    best = squares.max(1)
    rest = squares.sum(1) - best
    others = max(1, information.shape[1] - 1)
    spread = np.divide(rest, best * others, out=np.ones_like(best), where=best > 0)
    return float((1 - spread).mean())
