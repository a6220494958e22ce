"""What the effective dimension of other samples would be, where rows differ in size.

A few rows of large size decide the participation ratio of unequal rows, and how many of them a
sample has is chance. Samples that have none show neither in their number nor in any standard error
what others have; leaving rows out cannot show it. The sizes' upper tail can: a generalized Pareto
distribution is fitted to it (Zhang and Stephens 2009, Technometrics 51, 316; with a weak prior for
its shape, as Vehtari, Simpson, Gelman, Yao and Gabry 2024, JMLR 25:72, have one), and other samples
are drawn from the sizes with this tail. Directions are taken to be independent of sizes, as those
of elliptical rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from latentlab.chance.reach import LEVEL

Array = NDArray[np.float64]
FEWEST = 25
"""Rows from which the tail of their sizes is fitted: five of them are in it."""
_SAMPLES = 100
_INNER = 40
_TAIL, _TAIL_ROOT = 0.2, 3.0
_RAREST = 1e-9
_PRIOR_SHAPE, _PRIOR_WEIGHT = 0.5, 5


@dataclass(frozen=True, eq=False)
class SizeLaw:
    """A law of sizes: those that were seen below, and a generalized Pareto distribution above.

    Parameters
    ----------
    body : Array, (n − t,), ascending; between them the law is interpolated
    share : float, t/n, of the sizes that are above the last of the body
    shape, scale : float, of the distribution of what they exceed it by
    """

    body: Array
    share: float
    shape: float
    scale: float

    def draw(self, count: int, n: int, generator: np.random.Generator) -> Array:
        """Return samples (count, n) of sizes."""
        chance, last = generator.random((count, n)), len(self.body) - 1
        below = np.interp(chance / (1 - self.share) * last, np.arange(last + 1), self.body)
        rest = np.clip((1 - chance) / self.share, _RAREST, 1)
        excess = self.scale * np.expm1(-self.shape * np.log(rest)) / self.shape
        return np.where(chance < 1 - self.share, below, self.body[-1] + excess)


def law_of(sizes: Array) -> SizeLaw:
    """Return the law of sizes (n,), in any order."""
    ordered, count = np.sort(sizes), len(sizes)
    tail = int(min(_TAIL * count, _TAIL_ROOT * count**0.5))
    body = ordered[: count - tail]
    shape, scale = fit_pareto(ordered[count - tail :] - body[-1])
    shape = (tail * shape + _PRIOR_WEIGHT * _PRIOR_SHAPE) / (tail + _PRIOR_WEIGHT)
    return SizeLaw(body, tail / count, shape or _RAREST, scale)


def fit_pareto(excess: Array) -> tuple[float, float]:
    """Return shape and scale of the generalized Pareto distribution of excesses (t,), ascending.

    The estimator of Zhang and Stephens: a mean over a grid of one parameter, weighted by its
    profile likelihood.

    Examples
    --------
    >>> excess = np.sort(np.random.default_rng(0).pareto(2.5, 5000))
    >>> shape, scale = fit_pareto(excess)  # 1/2.5 and 1/2.5
    >>> abs(shape - 0.4) < 0.05, abs(scale - 0.4) < 0.05
    (True, True)
    """
    count, most = len(excess), float(excess[-1])
    if most <= 0:
        return 0.0, 0.0
    size = 30 + int(count**0.5)
    steps = 1 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    grid = 1 / most + steps / (3 * max(excess[int(count / 4 + 0.5) - 1], _RAREST * most))
    shapes = np.log1p(-grid[:, None] * excess).mean(1)
    likelihood = count * (np.log(-grid / shapes) - shapes - 1)
    best = float(np.average(grid, weights=np.exp(likelihood - likelihood.max())))
    shape = float(np.log1p(-best * excess).mean())
    return shape, -shape / best


@dataclass(frozen=True)
class Others:
    """The mean participation ratio of other samples of so many rows, under a law of their sizes.

    Parameters
    ----------
    mean, lower, upper : float, with the ends of a 95 % interval
    of_directions : float, by how much of a relative change of the population's participation ratio
        that of the samples changes; the rest is decided by sizes
    """

    mean: float
    lower: float
    upper: float
    of_directions: float


def others_of(sizes: Tensor, alike: float, generator: np.random.Generator) -> Others:
    """Return the participation ratio of other samples.

    The ends of its interval are quantiles under laws that were fitted to samples of the first law.

    Parameters
    ----------
    sizes : Tensor, (N,), squared length of each row about the mean, N ≥ :data:`FEWEST`
    alike : float, mean squared cosine of the angle between two rows, weighted by their sizes
    generator : np.random.Generator

    Examples
    --------
    >>> import torch
    >>> sizes = 1 + 0.01 * torch.arange(100)
    >>> others = others_of(sizes, 0.01, np.random.default_rng(0))
    >>> others.lower < 49.4 < others.upper  # 1/PR is about 1.04/N + alike
    True
    """
    law, count = law_of(sizes.double().numpy()), len(sizes)
    samples = law.draw(_SAMPLES, count, generator)
    means = []
    for sample in samples:
        again = law_of(sample).draw(_INNER, count, generator)
        means.append(float(_participation_ratio(again, alike).mean()))
    tail = (1 - LEVEL) / 2
    low, high = (float(end) for end in np.quantile(means, [tail, 1 - tail]))
    ratios = _participation_ratio(samples, alike)
    # 1/PR = q + alike (1 − q), where q is (Σ size²)/(Σ size)².
    crossing = (1 - alike * ratios) / (1 - alike)
    return Others(float(ratios.mean()), low, high, float(1 - crossing.mean()))


def _participation_ratio(sizes: Array, alike: float) -> Array:
    """Return (tr S)²/tr S² of rows of these sizes (..., n)."""
    total, squares = sizes.sum(-1) ** 2, np.square(sizes).sum(-1)
    ratio: Array = total / (squares + alike * (total - squares))
    return ratio
