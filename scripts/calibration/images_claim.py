"""Intervals over images: of means, of ratios, of paired differences, and of many at once."""

from __future__ import annotations

from functools import partial

import numpy as np
from claims import COVERAGE, OUTSIDE, SIZE, Cell, Claim, Outcome

from latentlab.metrics.bootstrap import (
    Array,
    joint_quantile,
    quotient,
    studentize,
    studentize_difference,
)

_METRICS = 12
_SHAPE = 3.0


def _decibels(rng: np.random.Generator, n: int) -> Array:
    """Return numbers like the PSNR of n photos: 30 dB on average, skewed."""
    return 24 + 2 * rng.gamma(_SHAPE, size=n)


def _holds(low: float | None, high: float | None, truth: float) -> bool:
    return low is not None and high is not None and low <= truth <= high


def _mean(n: int, seed: int) -> Outcome:
    rows = _decibels(np.random.default_rng(seed), n)
    return {"interval of the mean": _holds(*studentize(rows).interval(), 24 + 2 * _SHAPE)}


def _difference(n: int, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    first = _decibels(rng, n)
    other = first - 0.4 * rng.gamma(_SHAPE, size=n)
    found = studentize_difference(first, other).interval()
    return {"interval of the paired difference": _holds(*found, 0.4 * _SHAPE)}


def _ratio(n: int, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    below = rng.gamma(4.0, size=n)
    rows = np.stack([below * rng.beta(8, 2, size=n), below], 1)
    return {"interval of a ratio of means": _holds(*studentize(rows, quotient).interval(), 0.8)}


def _size(n: int, logarithmic: bool, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    rows = np.exp(0.7 * rng.normal(size=(n, 1)))
    truth = float(np.exp(0.245))
    if not logarithmic:
        return {"interval of a mean": _holds(*studentize(rows).interval(), truth)}
    low, high = studentize(rows, lambda means: np.log(means[..., 0])).interval()
    return {"logarithmic interval of a mean": _holds(low, high, float(np.log(truth)))}


def _joint(n: int, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    shared = rng.gamma(_SHAPE, size=(n, 1)) - _SHAPE
    rows = shared + 0.5 * rng.normal(size=(n, _METRICS))
    several = [studentize(column) for column in rows.T]
    reach = joint_quantile(several)
    ends = [one.interval(reach) for one in several]
    return {"any of 12 models is called better": not all(_holds(*end, 0.0) for end in ends)}


CLAIM = Claim(
    name="images",
    says="30.03 (27.98 to 32.08) | better in a paired difference over the same images",
    assumes="images are independent and of one kind; skew like that of PSNR",
    breaks="sizes with heavy tails at few images, where no interval knows the tail",
    cells=(
        *(Cell(f"mean, {n} images", COVERAGE, partial(_mean, n), runs=1000) for n in (24, 100)),
        *(
            Cell(f"paired difference, {n} images", COVERAGE, partial(_difference, n), runs=1000)
            for n in (24, 100)
        ),
        Cell("ratio of means, 24 images", COVERAGE, partial(_ratio, 24), runs=1000),
        Cell("no difference, 12 metrics, 24 images", SIZE, partial(_joint, 24), runs=1000),
        *(
            Cell(
                f"log-normal sizes, {n} images, {'log' if logarithmic else 'plain'}",
                OUTSIDE,
                partial(_size, n, logarithmic),
                runs=1000,
                quick=False,
            )
            for n in (24, 100)
            for logarithmic in (True, False)
        ),
    ),
)
