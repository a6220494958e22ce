"""Numbers that summarize an eigenvalue spectrum.

None of them measures entanglement: all are unchanged when the latent space is rotated.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def participation_ratio(explained_variance: ArrayLike) -> float:
    """Return (Σλ)²/Σλ², the effective number of dimensions, between 1 and the rank.

    Examples
    --------
    >>> participation_ratio([2.0, 2.0, 2.0, 0.0])
    3.0
    """
    values = np.asarray(explained_variance, np.float64)
    return float(values.sum() ** 2 / np.square(values).sum())


def participation_ratio_corrected(
    explained_variance: ArrayLike, n_samples: int, row_sizes: ArrayLike | None = None
) -> float:
    """Return the participation ratio corrected for the bias that n_samples samples cause.

    Parameters
    ----------
    explained_variance : array (n,), all eigenvalues of the sample covariance (divisor N − 1)
    n_samples : int, N, at least 4 with row sizes
    row_sizes : array (N,), squared length of each row about the mean, optional

    Notes
    -----
    With row sizes both (tr Σ)² and tr Σ² are unbiased for any distribution of independent rows
    (Himeno and Yamada 2014, J. Multivariate Anal. 130, 27). Without them rows are taken to be of
    equal size: elliptical rows then read too few dimensions.

    Examples
    --------
    >>> round(participation_ratio_corrected([2.0, 1.0, 1.0], 101), 2)
    2.77
    """
    if row_sizes is None or n_samples < 4:
        return remove_sampling_bias(participation_ratio(explained_variance), n_samples)
    trace, squares = unbiased_traces(explained_variance, row_sizes)
    values = np.asarray(explained_variance, np.float64)
    return float(trace / squares) if squares > 1e-12 * values.sum() ** 2 else math.inf


def unbiased_traces(explained_variance: ArrayLike, row_sizes: ArrayLike) -> tuple[float, float]:
    """Return (tr Σ)² and tr Σ² of the population, both without bias, from N ≥ 4 rows.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(2000, 3)) * np.sqrt([2, 1, 1])
    >>> rows -= rows.mean(0)
    >>> values = np.linalg.svd(rows, compute_uv=False) ** 2 / 1999
    >>> [round(value) for value in unbiased_traces(values, (rows**2).sum(1))]
    [16, 6]
    """
    values, sizes = (np.asarray(one, np.float64) for one in (explained_variance, row_sizes))
    count = len(sizes)
    spread = count * np.square(sizes).sum() / (count - 1)
    square, squares = values.sum() ** 2, np.square(values).sum()
    scale = (count - 1) / (count * (count - 2) * (count - 3))
    trace = 2 * squares + (count**2 - 3 * count + 1) * square - spread
    return scale * trace, scale * ((count - 1) * (count - 2) * squares + square - spread)


def remove_sampling_bias(ratio: float, n_samples: int) -> float:
    """Return the participation ratio in the limit of infinitely many rows of equal size.

    With n = n_samples − 1, isotropic noise in D dimensions has 1/PR = 1/n + 1/D up to 1/(nD), so
    PR_c = (1 + 1/n) / (1/PR − 1/n). Infinite where the samples show no structure at all.
    """
    freedom = n_samples - 1
    excess = 1 / ratio - 1 / freedom
    return (1 + 1 / freedom) / excess if excess > 1e-12 else math.inf


def components_for(cumulative: ArrayLike, fraction: float) -> int | None:
    """Return the smallest k whose first k components hold this fraction of the variance.

    None where even all known components together hold less.
    """
    # A rounding error in the last digit must not cost a component.
    reached = np.flatnonzero(np.asarray(cumulative) >= fraction - 1e-12)
    return int(reached[0]) + 1 if len(reached) else None


def fit_curve(cumulative: ArrayLike, *, logarithmic: bool) -> tuple[float, float, float]:
    """Return intercept, slope and R² of cumulative variance against k, or against ln k.

    Parameters
    ----------
    cumulative : array (n,), cumulative explained variance of the first k = 1…n components
    logarithmic : bool, fit ``a + b ln k`` instead of ``a + b k``

    Notes
    -----
    Isotropic noise alone reaches a logarithmic R² of .78 to .93: compare with its curve.
    """
    y = np.asarray(cumulative, np.float64)
    k = np.arange(1.0, len(y) + 1)
    x = np.log(k) if logarithmic else k
    if len(y) < 3 or np.ptp(y) == 0:
        return float(y.mean()), 0.0, math.nan
    slope = ((x - x.mean()) * (y - y.mean())).sum() / np.square(x - x.mean()).sum()
    intercept = y.mean() - slope * x.mean()
    residual = np.square(y - intercept - slope * x).sum()
    return float(intercept), float(slope), float(1 - residual / np.square(y - y.mean()).sum())
