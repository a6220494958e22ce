"""Bootstrap intervals of statistics of means over images, alone, paired, or many at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""Means (…, k) → values (…): any smooth function, such as a ratio of two means."""

DRAWS = 2000
LEVEL = 0.95
FEWEST = 5
"""Fewer images have no interval: their resamples are too few to tell."""
_CHUNK_VALUES = 2**22
_STEP = 1e-4
"""Step of the numerical gradient, in standard deviations of a column."""


@dataclass(frozen=True, eq=False)
class Studentized:
    """A value with its standard error, and what the same ratio is in resamples.

    Parameters
    ----------
    value : float
    error : float, standard error, by linearization
    ratios : array (draws,), (resampled value − value) / resampled error
    n : int, images
    """

    value: float
    error: float
    ratios: Array
    n: int

    def interval(self, quantile: float | None = None) -> tuple[float | None, float | None]:
        """Return low and high; None where they are unknown.

        Parameters
        ----------
        quantile : float, optional; how many standard errors, instead of this value's own 95 %
        """
        if self.n < FEWEST:
            return None, None
        if self.error == 0:
            return self.value, self.value
        reach = quantile if quantile is not None else self.quantile()
        if not np.isfinite(reach * self.error):
            return None, None
        return self.value - reach * self.error, self.value + reach * self.error

    def quantile(self, level: float = LEVEL) -> float:
        """Return how many standard errors an interval of this level reaches to both sides."""
        return float(np.quantile(np.abs(self.ratios), level, method="higher"))


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n images (Wilson 1927), also where it is 0 or 1.

    It is wide enough for means of numbers within 0 and 1, too, which vary less.

    Examples
    --------
    >>> low, high = share_interval(0, 8)
    >>> low, round(high, 3)
    (0.0, 0.324)
    """
    square = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    center = share + square / (2 * n)
    reach = math.sqrt(square * (share * (1 - share) / n + square / (4 * n * n)))
    scale = 1 + square / n
    low, high = (center - reach) / scale, (center + reach) / scale
    # Rounding leaves the ends beside 0 and 1.
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def identity(means: Array) -> Array:
    """Return the only mean (…, 1) as the statistic (…)."""
    return means[..., 0]


def quotient(means: Array) -> Array:
    """Return the first of two means (…, 2) over the second as the statistic (…); NaN over 0."""
    below = means[..., 1]
    return np.divide(means[..., 0], below, out=np.full_like(below, np.nan), where=below != 0)


def root_quotient(means: Array) -> Array:
    """Return the square root of :func:`quotient`, for sums of squares."""
    return np.asarray(np.sqrt(np.maximum(quotient(means), 0)))


def studentize(
    columns: ArrayLike, statistic: Statistic = identity, *, draws: int = DRAWS, seed: int = 0
) -> Studentized:
    """Return a statistic of the columns' means, with its error and its studentized resamples.

    Rows are resampled with replacement. The same seed and number of rows give the same resamples,
    so that several statistics of one set of images can be judged together.

    Parameters
    ----------
    columns : array (n,) or (n, k), one row an image
    statistic : means (…, k) → values (…); by default the mean itself
    draws, seed : int

    Notes
    -----
    The symmetric studentized bootstrap (Hall 1988): with 24 images it covers what it states where
    percentiles of resampled means cover too little.

    Examples
    --------
    >>> found = studentize(np.arange(24.0))
    >>> low, high = found.interval()
    >>> found.value, round(low, 1), round(high, 1)
    (11.5, 8.5, 14.5)
    """
    rows = np.asarray(columns, np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    n, k = rows.shape
    center = rows.mean(0)
    rest = rows - center
    steps = np.maximum(rest.std(0), 1e-12 * np.maximum(np.abs(center), 1)) * _STEP
    value = float(statistic(center))
    products = (rest[:, :, None] * rest[:, None, :]).reshape(n, k * k)
    error = float(_error(statistic, center, products.mean(0).reshape(k, k), steps, n))
    ratios = []
    for weights in _resamples(n, draws, seed):
        shifted = weights @ rest
        spread = (weights @ products).reshape(-1, k, k)
        spread = spread - shifted[:, :, None] * shifted[:, None, :]
        moved = statistic(center + shifted) - value
        errors = _error(statistic, center + shifted, spread, steps, n)
        ratios.append(np.divide(moved, errors, out=np.full_like(moved, np.inf), where=errors > 0))
    found = np.concatenate(ratios) if ratios else np.zeros(0)
    return Studentized(value, error, found, n)


def studentize_difference(
    first: ArrayLike,
    other: ArrayLike,
    statistic: Statistic = identity,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Studentized:
    """Return the difference of a statistic between two sets of columns of the same images, paired.

    Parameters
    ----------
    first, other : array (n,) or (n, k); row i of both is image i
    statistic, draws, seed : as for :func:`studentize`

    Examples
    --------
    >>> rows = np.arange(24.0)
    >>> studentize_difference(rows + 1, rows).interval()
    (1.0, 1.0)
    """
    a, b = (np.asarray(one, np.float64).reshape(len(np.asarray(one)), -1) for one in (first, other))
    k = a.shape[1]

    def difference(means: Array) -> Array:
        return np.asarray(statistic(means[..., :k]) - statistic(means[..., k:]))

    if k == 1 and statistic is identity:
        return studentize(a - b, draws=draws, seed=seed)
    return studentize(np.concatenate([a, b], 1), difference, draws=draws, seed=seed)


def joint_quantile(several: Sequence[Studentized], level: float = LEVEL) -> float:
    """Return how many standard errors hold all intervals at once with this probability.

    It is the quantile of the largest ratio in each resample (Westfall and Young 1993), which takes
    into account how the values depend on one another.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> several = [studentize(rng.normal(size=100)) for _ in range(20)]
    >>> 2.7 < joint_quantile(several) < 3.6, joint_quantile(several) > several[0].quantile()
    (True, True)
    """
    known = [one.ratios for one in joint_members(several, level)]
    if not known:
        return float("nan")
    return float(np.quantile(np.abs(np.stack(known)).max(0), level, method="higher"))


def joint_members(several: Sequence[Studentized], level: float = LEVEL) -> list[Studentized]:
    """Return those whose intervals can be joint: the others have none that holds with them.

    A column with few distinct values is constant in some resamples, whose ratio is infinite. One
    such column would take the intervals of all others, so those that are constant least often
    come first, and those with which the joint quantile would be infinite are left out.

    Examples
    --------
    >>> varying, nearly_constant = studentize(np.arange(24.0)), studentize([1.0] * 23 + [2])
    >>> len(joint_members([nearly_constant, varying])), nearly_constant.interval()
    (1, (None, None))
    """
    known = [one for one in several if one.error > 0 and one.n >= FEWEST]
    found: list[Studentized] = []
    lost = np.zeros(1, bool)
    for one in sorted(known, key=lambda one: float((~np.isfinite(one.ratios)).mean())):
        together = lost | ~np.isfinite(one.ratios)
        if np.isfinite(np.quantile(np.where(together, np.inf, 0), level, method="higher")):
            found, lost = [*found, one], together
    return found


def _resamples(n: int, draws: int, seed: int) -> Iterator[Array]:
    """Yield shares (chunk, n) of each row in each resample."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_VALUES // max(n, 1))
    for begun in range(0, draws, chunk):
        count = min(chunk, draws - begun)
        # As multinomial counts, ten times as fast.
        drawn = rng.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n) / n


def _error(statistic: Statistic, at: Array, spread: Array, steps: Array, n: int) -> Array:
    """Return standard errors (…) of a statistic at means (…, k) of rows with covariance."""
    moves = np.diag(steps)
    slopes = np.stack(
        [
            (statistic(at + move) - statistic(at - move)) / (2 * step)
            for move, step in zip(moves, steps, strict=True)
        ],
        axis=-1,
    )
    variance = np.einsum("...i,...ij,...j->...", slopes, spread, slopes)
    # Below the rounding of the products nothing varies.
    floor = 1e-20 * np.square(slopes * steps / _STEP).sum(-1)
    return np.asarray(np.sqrt(np.where(variance > floor, variance, 0.0) / n))
