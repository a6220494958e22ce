"""The β-VAE metric (Higgins et al. 2017): whether differences of latents name the fixed factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.metrics.fixed_factor import BATCH, agreeing_batches
from latentlab.metrics.mutual_information import discretize
from latentlab.metrics.varying import keep_varying, standardized


def beta_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    train: int = 10_000,
    test: int = 5_000,
    seed: int = 0,
) -> float:
    """Return the accuracy of a linear classifier that names the factor which pairs share.

    It sees the mean of |z₁ − z₂| over 64 pairs of rows that agree in one factor, each latent with
    the variance 1: its penalty depends on the unit.
    Factors that never vary are left out.

    Parameters
    ----------
    codes : array, (N, L)
    factors : array, (N, K); floats are binned, whole numbers are classes
    train, test : int, how many such means to learn from and to check with

    Examples
    --------
    >>> grid = np.indices((8, 8)).reshape(2, -1).T
    >>> beta_vae_score(grid, grid, train=200, test=100) > 0.95
    True
    """
    from sklearn.linear_model import LogisticRegression

    (z,), classes = standardized(codes), discretize(keep_varying(factors))
    rng = np.random.default_rng(seed)
    differences, shared = _differences(z, classes, train, rng)
    reader = LogisticRegression(max_iter=1000).fit(differences, shared)
    return float(reader.score(*_differences(z, classes, test, rng)))


def _differences(
    z: NDArray[np.float64], classes: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return mean |z₁ − z₂| (count, L) and the shared factor (count,)."""
    means, shared = np.empty((count, z.shape[1])), np.empty(count, np.int64)
    for index, (factor, rows) in enumerate(agreeing_batches(classes, count, rng, batch=2 * BATCH)):
        # The first and second halves are drawn alike, so any row may stand beside any other.
        means[index] = np.abs(z[rows[:BATCH]] - z[rows[BATCH:]]).mean(0)
        shared[index] = factor
    return means, shared
