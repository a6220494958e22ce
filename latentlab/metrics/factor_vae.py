"""The FactorVAE metric (Kim and Mnih 2018): which latent keeps still when a factor does."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.metrics.fixed_factor import agreeing_batches
from latentlab.metrics.mutual_information import discretize
from latentlab.metrics.varying import keep_varying, varying

_STILL = 0.05


def factor_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    train: int = 10_000,
    test: int = 5_000,
    seed: int = 0,
) -> float:
    """Return how often the latent of least relative variance names the fixed factor, in [0, 1].

    Each vote is a batch of 64 rows that agree in one factor; the vote of a latent goes to the
    factor it meant most often in training. Latents with less than 0.05 of the largest
    standard deviation do not vote, nor does a factor that never varies; 0 if no latent varies.

    Parameters
    ----------
    codes : array, (N, L)
    factors : array, (N, K); floats are binned, whole numbers are classes
    train, test : int, votes

    Examples
    --------
    >>> grid = np.indices((8, 8)).reshape(2, -1).T
    >>> factor_vae_score(grid, grid, train=200, test=100)
    1.0
    """
    z, classes = np.asarray(codes, float), discretize(keep_varying(factors))
    spread = z.std(0)
    # Relative: a code in other units has the same score.
    lively = varying(z) & (spread >= _STILL * spread.max())
    if not lively.any():
        return 0.0
    z = z[:, lively]
    rng = np.random.default_rng(seed)
    learned = _votes(z, classes, train, rng)
    checked = _votes(z, classes, test, rng)
    return float(checked[np.arange(len(checked)), learned.argmax(1)].sum() / test)


def _votes(
    z: NDArray[np.float64], classes: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return how often each latent kept stillest while each factor was fixed (L, K)."""
    votes = np.zeros((z.shape[1], classes.shape[1]), np.int64)
    overall = z.var(0)
    for factor, rows in agreeing_batches(classes, count, rng):
        votes[(z[rows].var(0) / overall).argmin(), factor] += 1
    return votes
