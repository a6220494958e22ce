"""Intervals of the participation ratio: of other samples, and of the population."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from latentlab.chance.reach import Interval, reaches
from latentlab.chance.row_groups import GroupSums
from latentlab.chance.row_sizes import are_unequal, row_sizes
from latentlab.chance.size_law import FEWEST, others_of
from latentlab.latents import Spectrum
from latentlab.metrics.spectrum import participation_ratio, participation_ratio_corrected

_LINE = 1e-9


def intervals_of_ratio(
    rows: GroupSums, matrix: Tensor, spectrum: Spectrum
) -> tuple[Interval, Interval]:
    """Return the participation ratio, and that of the population, which N does not bias.

    The population's is a ratio of sums over pairs of different groups, so groups whose rows are
    dependent need no further correction. That of single rows is unbiased.
    """
    value = participation_ratio(spectrum.explained_variance)
    traces, products, own = rows.traces, rows.products, rows.products.diagonal()
    others = products.sum(1) - own
    total, both = traces.sum(), traces.sum() ** 2 - traces.square().sum()
    without = (total - traces).square() / (products.sum() - 2 * others - own)
    pairs = others.sum() - 2 * others
    of_pairs = (both - 2 * traces * (total - traces)) / pairs
    corrected = float(both / others.sum()) if others.sum() > 0 else math.inf
    if len(traces) == spectrum.n_samples:
        sizes = row_sizes(matrix)
        corrected = participation_ratio_corrected(
            spectrum.explained_variance, spectrum.n_samples, sizes
        )
    if not (pairs > 1e-12 * both).all():
        return _around(value, without), Interval(corrected, value, math.inf)
    return _around(value, without), within(_around(corrected, of_pairs), math.inf)


def are_single_and_unequal(rows: GroupSums, spectrum: Spectrum) -> bool:
    """Return whether the law of row sizes can be found, and matters.

    It does not for rows along a line, whose participation ratio is 1 whatever their sizes.
    """
    known = len(rows.traces) == spectrum.n_samples >= FEWEST
    several = participation_ratio(spectrum.explained_variance) > 1 + _LINE
    return known and several and are_unequal(rows.traces, spectrum)


def within(interval: Interval, most: float) -> Interval:
    """Return an interval without what no participation ratio is: below 1, or above a number.

    Examples
    --------
    >>> within(Interval(2.5, 0.4, 7.0), 3.0)
    Interval(value=2.5, lower=1.0, upper=3.0)
    """
    value = interval.value
    return Interval(
        value, min(value, max(1.0, interval.lower)), max(value, min(interval.upper, most))
    )


def with_other_sizes(
    ratio: Interval, corrected: Interval, rows: GroupSums, generator: np.random.Generator
) -> Interval:
    """Return the interval of the participation ratio of rows of which few decide.

    Sizes and directions are independent sources: their reaches add up in squares.
    """
    if not math.isfinite(corrected.upper):
        return ratio
    total, squares = rows.traces.sum().square(), rows.traces.square().sum()
    crossing = rows.products.sum() - rows.products.diagonal().sum()
    others = others_of(rows.traces, float(crossing / (total - squares)), generator)
    down, up = (
        math.hypot(math.log(by_size / others.mean), others.of_directions * math.log(by_direction))
        for by_size, by_direction in (
            (others.lower, corrected.lower / corrected.value),
            (others.upper, corrected.upper / corrected.value),
        )
    )
    lower, upper = others.mean * math.exp(-down), others.mean * math.exp(up)
    return Interval(ratio.value, min(ratio.value, lower), max(ratio.value, upper))


def _around(value: float, without: Tensor) -> Interval:
    """Return an interval from the values (U,) without each group, on a logarithmic scale."""
    deviations = without.log() - without.log().mean()
    error = float(((len(without) - 1) / len(without) * deviations.square().sum()).sqrt())
    # Without a group that adds to the value the value is smaller.
    down, up = (error * float(reach) for reach in reaches(-deviations[:, None]))
    return Interval(value, value * math.exp(-down), value * math.exp(up))
