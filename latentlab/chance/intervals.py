"""How much the numbers of a spectrum would change with other samples.

Resampling rows *with* replacement repeats some of them. Two copies share a direction exactly, which
real samples never do: the plain bootstrap of isotropic noise halves its participation ratio (El
Karoui and Purdom 2016, 1608.00948). Rows are therefore left out, never repeated:

* the participation ratio without each row in turn, on a logarithmic scale (the jackknife);
* the curve without a random fifth of the rows, its deviations scaled to those of new samples (the
  delete-d jackknife, Shao and Wu 1989).

A standard error from few rows, or from rows of which few matter, is uncertain itself, and small in
samples that happen to lack them: see :mod:`latentlab.chance.reach`. Where rows are of very unequal
size, :mod:`latentlab.chance.size_law` says what samples with other large rows would give. Dependent
rows (cells, patches, frames, and any rows that resemble the next) are left out in blocks.

These intervals say what another N rows would give. The population's curve lies elsewhere: the
components of N rows fit these rows, so their curve is too high, and along them other rows have too
little variance, since no directions have more than the population's own. The two curves bracket the
population's, and to first order in 1/N they miss it by as much above as below (Lawley 1956,
Biometrika 43, 128), so a weighted mean of the two is corrected for sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlab.chance.decay import (
    FOLDS,
    NO_DECAY,
    Decay,
    correct,
    exponent_of,
    find_decay,
    last_rank,
    weights_of,
)
from latentlab.chance.nulls.base import matrix_of
from latentlab.chance.ratio import (
    are_single_and_unequal,
    intervals_of_ratio,
    with_other_sizes,
    within,
)
from latentlab.chance.reach import LEVEL, Interval, reaches, student
from latentlab.chance.row_groups import GroupSums, independent_groups, sum_up_rows
from latentlab.latents import Neighborhood, Progress, Spectrum
from latentlab.machine.threads import threads_for
from latentlab.metrics.spectrum import (
    components_for,
    fit_curve,
)

TARGET = "another N rows drawn like these"
FEWEST_GROUPS = 6
_BELIEVED = 0.9  # of the components of a part of the samples
_CURVE_DRAWS = 60
_CURVE_DRAWS_OF_LARGE = 20
_LARGE = 1024
_LEFT_OUT = 0.2
_HALVES = 8
_EXTRAPOLATED = 1.2  # how much larger errors are of what is extrapolated from N/2 and N
_NARROW = 0.1  # a bracket of the curve whose middle is a correction


@dataclass(frozen=True, eq=False, repr=False)
class Intervals:
    """95 % intervals of the numbers that summarize a complete spectrum.

    Parameters
    ----------
    participation_ratio, participation_ratio_corrected, k90 : Interval
    curve_lower, curve_upper : Tensor, (n,), of the cumulative share of the variance at each k;
        NaN near the end, for which parts of the samples have too few components
    population_lower : Tensor, (n,), the lower end of a bracket of the population's curve, whose
        upper end is ``curve_upper``: the share that the components have of rows left out, less
        half an interval
    population : Tensor, (n,), the curve corrected for sampling; NaN where the bracket is wider
        than a tenth
    decay : Decay of the eigenvalues, corrected for sampling; None for very few components
    half_r2 : float, R² against ln k of the curve of half the rows
    groups : str, what counts as independent, such as ``"28 blocks of 6×6 cells"``
    other_sizes : bool, whether the interval of the participation ratio allows for samples with
        rows of other sizes
    """

    participation_ratio: Interval
    participation_ratio_corrected: Interval
    k90: Interval
    curve_lower: Tensor
    curve_upper: Tensor
    population_lower: Tensor
    population: Tensor
    decay: Decay | None
    half_r2: float
    groups: str
    other_sizes: bool = False

    @property
    def population_k90(self) -> float:
        """Return the upper end of the bracket of the population's k90; infinite if unknown."""
        return float(components_for(self.population_lower, 0.9) or math.inf)

    @property
    def method(self) -> str:
        """Return how the interval of the participation ratio was found, in words."""
        sizes = ", with a generalized Pareto tail of row sizes" if self.other_sizes else ""
        return f"{self.groups}, each left out once (jackknife){sizes}"

    @property
    def curve_method(self) -> str:
        """Return how the intervals of the curve and of k90 were found, in words."""
        return f"{self.groups}, a fifth of them left out (delete-d jackknife)"

    def facts(self) -> dict[str, Any]:
        """Return the entries of ``pca.json``."""
        corrected = self.participation_ratio_corrected
        return {
            "participation_ratio_corrected": corrected.value,
            "effective_dimension": {
                **vars(self.participation_ratio),
                "level": LEVEL,
                "method": self.method,
                "corrected": vars(corrected),
            },
            "intervals": {
                "level": LEVEL,
                "target": TARGET,
                "method": self.curve_method,
                "k90": {**vars(self.k90), "population_upper": self.population_k90},
                "cumulative_lower": self.curve_lower.tolist(),
                "cumulative_upper": self.curve_upper.tolist(),
                "population_lower": self.population_lower.tolist(),
                "population": self.population.tolist(),
            },
            "decay": vars(self.decay) if self.decay else NO_DECAY,
            "log_fit_r2_half": self.half_r2,
        }


def find_intervals(
    samples: Neighborhood | Tensor,
    spectrum: Spectrum,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Intervals | None:
    """Return the 95 % intervals of a spectrum's participation ratio, cumulative curve and k90.

    None if the spectrum is partial, or if there are fewer than six independent groups of rows.

    Parameters
    ----------
    samples : Neighborhood or Tensor, (n_samples, n_features)
    spectrum : Spectrum of the samples, complete
    seed : int
    progress : called as ``progress("intervals", done, total)``

    Raises
    ------
    ShapeError : the spectrum of other samples.
    MemoryLimitError : too many samples.

    Examples
    --------
    >>> samples = torch.randn(50, 400, generator=torch.Generator().manual_seed(0))
    >>> values = torch.linalg.svdvals(samples - samples.mean(0)).double()[:49].square() / 49
    >>> spectrum = Spectrum(values, float(values.sum()), 50, 400)
    >>> found = find_intervals(samples, spectrum).participation_ratio
    >>> found.lower < found.value < found.upper
    True
    """
    matrix = matrix_of(samples, spectrum)
    groups = independent_groups(samples, spectrum)
    if not spectrum.is_complete or groups.count < FEWEST_GROUPS:
        return None
    rows = sum_up_rows(matrix, groups)
    generator = np.random.default_rng(seed)
    ratio, corrected = intervals_of_ratio(rows, matrix, spectrum)
    if unequal := are_single_and_unequal(rows, spectrum):
        ratio = with_other_sizes(ratio, corrected, rows, np.random.default_rng((seed, 1)))
    # As many components as these have is the most that other samples have.
    ratio = within(ratio, float(len(spectrum.explained_variance)))
    with threads_for(min(matrix.shape)):
        parts = _spectra_of_parts(rows, spectrum, generator, progress)
        held_out = _held_out_curve(rows, spectrum, generator)
        half, half_r2 = _halves(rows, generator)
    down, up = _reaches_of_curve(rows, parts, spectrum, ratio if unequal else None)
    middle = _log_odds(spectrum.cumulative)
    least = torch.arange(1, len(middle) + 1).double() / len(middle)  # of the largest k of n shares
    lower = (middle - down).sigmoid().maximum(least).minimum(spectrum.cumulative)
    upper, reach = (middle + up).sigmoid(), parts.reach
    narrow = (spectrum.cumulative - held_out <= _NARROW).cumprod(0) > 0
    population = torch.where(narrow, correct(spectrum.cumulative, held_out), math.nan)
    return Intervals(
        participation_ratio=ratio,
        participation_ratio_corrected=corrected,
        population_lower=(_log_odds(held_out) - down).sigmoid(),
        population=population,
        decay=_decay(rows, parts, spectrum, held_out, half),
        half_r2=half_r2,
        k90=_interval_of_k90(spectrum, lower[:reach], upper[:reach]),
        curve_lower=_known_until(reach, lower),
        curve_upper=_known_until(reach, upper),
        groups=groups.description,
        other_sizes=unequal,
    )


def interval_of_dimension(samples: Neighborhood | Tensor, spectrum: Spectrum) -> Interval | None:
    """Return the effective dimension, corrected for sampling, as :func:`find_intervals` does.

    None for fewer than six independent groups of rows.
    """
    groups = independent_groups(samples, spectrum)
    if groups.count < FEWEST_GROUPS:
        return None
    matrix = matrix_of(samples, spectrum)
    return intervals_of_ratio(sum_up_rows(matrix, groups), matrix, spectrum)[1]


def _interval_of_k90(spectrum: Spectrum, lower: Tensor, upper: Tensor) -> Interval:
    """Return k90, with the k at which the known parts of the curve's bounds reach 90 %.

    If the upper bound does not reach it, k90 is above all known k. If the lower one does not, k90
    has no upper bound.
    """
    value = float(components_for(spectrum.cumulative, 0.9) or 0)
    least = float(components_for(upper, 0.9) or len(upper) + 1)
    most = float(components_for(lower, 0.9) or math.inf)
    return Interval(value, min(value, least), most)


@dataclass(frozen=True, eq=False)
class _Parts:
    """Spectra (draws, n), as shares, of all groups but a fifth; the first ``reach`` are known.

    Deviations times ``scale`` are those of new samples.
    """

    spectra: Tensor
    reach: int
    scale: float

    def errors_of(self, values: Tensor) -> Tensor:
        """Return standard errors (n,) of what was found in each part, (draws, n)."""
        errors = self.scale * values.std(0)
        errors[self.reach :] = errors[self.reach - 1]
        return errors


def _spectra_of_parts(
    rows: GroupSums,
    spectrum: Spectrum,
    generator: np.random.Generator,
    progress: Progress | None,
) -> _Parts:
    """Return the spectra without a random fifth of the groups, many times.

    A part of the samples has fewer components than all of them, and its curve approaches 1 near
    its last one whatever the samples are.
    """
    count, rank = len(rows.traces), spectrum.rank
    left_out = max(1, round(_LEFT_OUT * count))
    draws = _CURVE_DRAWS_OF_LARGE if rank > _LARGE else _CURVE_DRAWS
    spectra = torch.zeros(draws, rank, dtype=torch.float64)
    reach = rank
    for number in range(draws):
        kept = torch.ones(count, dtype=torch.bool)
        kept[torch.from_numpy(generator.permutation(count)[:left_out])] = False
        values = rows.eigenvalues_of(kept)[:rank]
        spectra[number, : len(values)] = values / values.sum()
        if len(values) < rank:
            reach = min(reach, int(_BELIEVED * len(values)))
        if progress:
            progress("intervals", number + 1, draws)
    return _Parts(spectra, reach, math.sqrt((count - left_out) / left_out))


def _reaches_of_curve(
    rows: GroupSums, parts: _Parts, spectrum: Spectrum, ratio: Interval | None
) -> tuple[Tensor, Tensor]:
    """Return how far (n,) the curve's interval reaches down and up, in log odds.

    To first order a group contributes to the share of the first k components what it has along
    them, beyond that share of its own variance. With the interval of a participation ratio that
    allows for other row sizes, what shares owe to that ratio reaches as far as it does.
    """
    curve = spectrum.cumulative.double()
    contributions = rows.along_components().cumsum(1) - curve * rows.traces[:, None]
    odds, draws = _log_odds(parts.spectra.cumsum(1)), len(parts.spectra)
    down, up = (reach * parts.errors_of(odds) for reach in reaches(contributions, draws))
    if ratio is None:
        return down, up
    dimension = -parts.spectra.square().sum(1).log()
    slopes, rest = _regress(odds, dimension)
    _, others = _regress(contributions, rows.traces.square())
    below, above = (reach * parts.errors_of(rest) for reach in reaches(others, draws))
    less, more = math.log(ratio.lower / ratio.value), math.log(ratio.upper / ratio.value)
    low = torch.minimum(slopes * less, slopes * more)
    high = torch.maximum(slopes * less, slopes * more)
    # The leading components of few large rows are these rows, which the ratio knows only in sum.
    return low.hypot(below), torch.maximum(up, high.hypot(above))


def _regress(values: Tensor, on: Tensor) -> tuple[Tensor, Tensor]:
    """Return slopes (n,) of values (u, n) on one variable (u,), and what remains, (u, n)."""
    centered, values = on - on.mean(), values - values.mean(0)
    slopes = centered @ values / centered.square().sum()
    return slopes, values - centered[:, None] * slopes


def _held_out_curve(rows: GroupSums, spectrum: Spectrum, generator: np.random.Generator) -> Tensor:
    """Return the share (n,) of the variance of rows left out along the others' components."""
    count = len(rows.traces)
    fold = torch.from_numpy(generator.permutation(count)) % FOLDS
    total = torch.zeros(spectrum.rank, dtype=torch.float64)
    for number in range(FOLDS):
        shares = rows.held_out_shares(fold != number)[: spectrum.rank]
        total[: len(shares)] += shares
    return torch.minimum((total / FOLDS).cumsum(0), spectrum.cumulative)


def _halves(rows: GroupSums, generator: np.random.Generator) -> tuple[Tensor, float]:
    """Return the shares of random halves, corrected for sampling, and R² of their curves."""
    count = len(rows.traces)
    shares, fits = [], []
    for _ in range(_HALVES):
        kept = torch.from_numpy(generator.permutation(count) < (count + 1) // 2)
        values = rows.eigenvalues_of(kept)
        outside = rows.held_out_shares(kept)[: len(values)]
        shares.append(correct(values / values.sum(), outside, 1.0))
        fits.append(fit_curve(values.cumsum(0), logarithmic=True)[2])
    known = min(map(len, shares))
    return torch.stack([one[:known] for one in shares]).mean(0), float(np.mean(fits))


def _decay(
    rows: GroupSums, parts: _Parts, spectrum: Spectrum, held_out: Tensor, half: Tensor
) -> Decay | None:
    """Return the decay, with an interval from the deviations of parts of the samples."""
    shares = spectrum.explained_variance_ratio
    outside = held_out.diff(prepend=held_out.new_zeros(1))
    last = min(last_rank(shares, outside), parts.reach, len(half))
    if not last:
        return None
    error = _EXTRAPOLATED * parts.scale * float(exponent_of(parts.spectra[:, :last]).std())
    contributions = (rows.along_components()[:, :last] / shares[:last]) @ weights_of(last)
    reach = error * float(student(contributions, len(parts.spectra)))
    return find_decay(correct(shares, outside), half, last, reach)


def _known_until(reach: int, bound: Tensor) -> Tensor:
    """Return a bound (n,) with NaN after the first ``reach`` components."""
    return torch.where(torch.arange(len(bound)) < reach, bound, math.nan)


def _log_odds(shares: Tensor) -> Tensor:
    return shares.clamp(1e-9, 1 - 1e-9).logit()
