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


def participation_ratio_corrected(explained_variance: ArrayLike, n_samples: int) -> float:
    """Return the participation ratio corrected for the bias that n_samples samples cause."""
    return remove_sampling_bias(participation_ratio(explained_variance), n_samples)


def remove_sampling_bias(ratio: float, n_samples: int) -> float:
    """Return the participation ratio in the limit of infinitely many samples, from n_samples.

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
