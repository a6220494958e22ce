"""How much the numbers of a spectrum would change with other samples.

Resampling rows *with* replacement repeats some of them. Two copies share a direction exactly, which
real samples never do: the plain bootstrap of isotropic noise halves its participation ratio (El
Karoui and Purdom 2016, 1608.00948). Pairs of copies are therefore avoided:

* the participation ratio depends only on pairs of rows, so pairs of copies are left out;
* the curve is computed again without a random fifth of the rows, and its deviations are scaled to
  those of new samples (the delete-d jackknife, Shao and Wu 1989).

Dependent rows (cells, patches, frames, crops) are drawn or left out in blocks.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor

from latentlab.chance.nulls.base import matrix_of
from latentlab.chance.row_groups import GroupSums, group_rows, sum_up_rows
from latentlab.latents import Neighborhood, Progress, Spectrum
from latentlab.machine.threads import threads_for
from latentlab.metrics.spectrum import (
    components_for,
    participation_ratio,
    remove_sampling_bias,
)

LEVEL = 0.95
FEWEST_GROUPS = 6
_NORMAL = 1.959964
_PAIR_DRAWS = 2000
_BELIEVED = 0.9  # of the components of a part of the samples
_CURVE_DRAWS = 60
_CURVE_DRAWS_OF_LARGE = 20
_LARGE = 1024
_LEFT_OUT = 0.2


@dataclass(frozen=True)
class Interval:
    """A number and the bounds of its 95 % interval; the upper one may be infinite."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False, repr=False)
class Intervals:
    """95 % intervals of the numbers that summarize a complete spectrum.

    Parameters
    ----------
    participation_ratio, participation_ratio_corrected, k90 : Interval
    curve_lower, curve_upper : Tensor, (n,), of the cumulative share of the variance at each k;
        NaN near the end, for which parts of the samples have too few components
    groups : str, what counts as independent, such as ``"28 blocks of 6×6 cells"``
    """

    participation_ratio: Interval
    participation_ratio_corrected: Interval
    k90: Interval
    curve_lower: Tensor
    curve_upper: Tensor
    groups: str

    @property
    def method(self) -> str:
        """Return how the interval of the participation ratio was found, in words."""
        return f"bootstrap of {self.groups}, pairs of copies left out"

    @property
    def curve_method(self) -> str:
        """Return how the intervals of the curve and of k90 were found, in words."""
        return f"{self.groups}, a fifth of them left out (delete-d jackknife)"


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
    groups = group_rows(samples)
    if not spectrum.is_complete or groups.count < FEWEST_GROUPS:
        return None
    rows = sum_up_rows(matrix, groups)
    generator = np.random.default_rng(seed)
    ratio = _interval_of_ratio(rows, spectrum, generator)
    with threads_for(min(matrix.shape)):
        lower, upper, reach = _band_of_curve(rows, spectrum, generator, progress)
    corrected = (remove_sampling_bias(value, spectrum.n_samples) for value in astuple(ratio))
    return Intervals(
        participation_ratio=ratio,
        participation_ratio_corrected=Interval(*corrected),
        k90=_interval_of_k90(spectrum, lower[:reach], upper[:reach]),
        curve_lower=_known_until(reach, lower),
        curve_upper=_known_until(reach, upper),
        groups=groups.description,
    )


def _interval_of_k90(spectrum: Spectrum, lower: Tensor, upper: Tensor) -> Interval:
    """Return k90, with the k at which the known parts of the curve's bounds reach 90 %.

    If the upper bound does not reach it, k90 is above all known k. If the lower one does not, k90
    has no upper bound.
    """
    value = float(components_for(spectrum.cumulative, 0.9) or 0)
    least = float(components_for(upper, 0.9) or len(upper) + 1)
    most = float(components_for(lower, 0.9) or math.inf)
    return Interval(value, min(value, least), most)


def _interval_of_ratio(
    rows: GroupSums, spectrum: Spectrum, generator: np.random.Generator
) -> Interval:
    """Return the participation ratio, with the percentiles of its bootstrap."""
    value = participation_ratio(spectrum.explained_variance)
    drawn = bootstrap_ratios(rows.products.numpy(), rows.traces.numpy(), _PAIR_DRAWS, generator)
    tail = 100 * (1 - LEVEL) / 2
    lower, upper = np.nanpercentile(drawn, [tail, 100 - tail])
    return Interval(value, min(value, float(lower)), max(value, float(upper)))


def bootstrap_ratios(
    products: np.ndarray, traces: np.ndarray, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Return participation ratios of groups drawn with replacement, without pairs of copies.

    Parameters
    ----------
    products : array, (U, U), inner products of the groups' scatter matrices
    traces : array, (U,), traces of the scatter matrices
    draws : int
    generator : numpy Generator

    Notes
    -----
    The sum of squared eigenvalues is a sum over pairs of groups. A group's pair with itself counts
    as often as the group was drawn. Pairs of different groups are scaled up to the number of pairs
    among U different groups.
    """
    count = len(traces)
    times = generator.multinomial(count, np.full(count, 1 / count), draws).astype(np.float64)
    own = products.diagonal()
    pairs = ((times @ products) * times).sum(1) - times**2 @ own
    meeting = count**2 - (times**2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = times @ own + pairs * (count * (count - 1) / meeting)
        ratios: np.ndarray = (times @ traces) ** 2 / squares
    return ratios


def _band_of_curve(
    rows: GroupSums,
    spectrum: Spectrum,
    generator: np.random.Generator,
    progress: Progress | None,
) -> tuple[Tensor, Tensor, int]:
    """Return bounds (n,) of the cumulative share, symmetric in its log odds, and how many hold.

    A part of the samples has fewer components than all of them, and its curve approaches 1 near
    its last one whatever the samples are.
    """
    count = len(rows.traces)
    left_out = max(1, round(_LEFT_OUT * count))
    large = min(spectrum.n_samples, spectrum.n_features) > _LARGE
    draws = _CURVE_DRAWS_OF_LARGE if large else _CURVE_DRAWS
    curves = torch.ones(draws, len(spectrum.explained_variance), dtype=torch.float64)
    reach = curves.shape[1]
    for number in range(draws):
        kept = torch.ones(count, dtype=torch.bool)
        kept[torch.from_numpy(generator.permutation(count)[:left_out])] = False
        values = rows.eigenvalues_of(kept)[: curves.shape[1]]
        curves[number, : len(values)] = values.cumsum(0) / values.sum()
        if len(values) < curves.shape[1]:
            reach = min(reach, int(_BELIEVED * len(values)))
        if progress:
            progress("intervals", number + 1, draws)
    scale = math.sqrt((count - left_out) / left_out)
    spread = _NORMAL * scale * _log_odds(curves).std(0)
    middle = _log_odds(spectrum.cumulative.double())
    return (middle - spread).sigmoid(), (middle + spread).sigmoid(), reach


def _known_until(reach: int, bound: Tensor) -> Tensor:
    """Return a bound (n,) with NaN after the first ``reach`` components."""
    return torch.where(torch.arange(len(bound)) < reach, bound, math.nan)


def _log_odds(shares: Tensor) -> Tensor:
    return shares.clamp(1e-9, 1 - 1e-9).logit()
