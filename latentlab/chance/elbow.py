"""Where a spectrum drops more sharply than chance, smooth fields and its own decay explain."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.chance.nulls.base import Null, limit_of_quantile
from latentlab.latents import Spectrum

_TIMES_TYPICAL = 4.0
_MORE_RANKS = 8
# Smaller eigenvalues are rounding errors.
_FLOOR = 1e-12


@dataclass(frozen=True)
class Elbow:
    """A drop of the spectrum.

    Parameters
    ----------
    index : int, the number of components before the drop
    strength : float, the log–log slope at the drop over the largest expected there; above 1
    drop : float, λ_index / λ_index+1
    """

    index: int
    strength: float
    drop: float


def find_elbow(spectrum: Spectrum, nulls: Iterable[Null]) -> Elbow | None:
    """Return the elbow of a spectrum; None if it has none beyond all these nulls.

    The drop after component k is measured by the slope of the spectrum on log–log axes,
    s_k = ln(λ_k/λ_{k+1}) / ln((k+1)/k), which is constant if λ_k ∝ k^−a. It is a scale-free form of
    the eigenvalue ratio of Lam and Yao 2012 (1206.0613) and Ahn and Horenstein 2013. A slope at any
    rank up to half of all is an elbow if

    * λ_k lies above every null's threshold, scaled to the variance that λ_1 … λ_{k−1} leave, since
      a null of the whole variance would hide small components behind large ones (deflation,
      Dobriban and Owen, 1711.04155),
    * relative to a null's mean slope at k it is larger than that null's slopes are at any rank,
      with 95 % probability,
    * it is four times the median slope of the ranks k/2 … 2 k + 8, so that a log-like spectrum,
      which deflation alone would count whole, has none.

    Of several the one that exceeds these limits most is returned.

    Parameters
    ----------
    spectrum : Spectrum
    nulls : the nulls that were drawn; analytic ones are skipped, since they have no gaps

    Examples
    --------
    >>> values = torch.tensor([30.0, 25.0, 20.0, *(1 - 0.01 * torch.arange(20.0))]).double()
    >>> spectrum = Spectrum(values, float(values.sum()), 24, 100)
    >>> find_elbow(spectrum, []).index
    3
    """
    values = spectrum.explained_variance
    slopes = local_slopes(values)
    reach = min(spectrum.rank // 2, len(slopes))
    if reach < 1:
        return None
    limits = _TIMES_TYPICAL * _typical_slopes(slopes)[:reach]
    left = 1 - (values.cumsum(0) - values)[:reach] / spectrum.total_variance
    above = torch.ones(reach, dtype=torch.bool)
    for null in nulls:
        if null.draws:
            limits = torch.maximum(limits, _limits_of(null, reach))
            above &= values[:reach] > null.threshold * left
    strengths = slopes[:reach] / limits.clamp_min(_FLOOR) * above
    index = int(strengths.argmax()) + 1
    drop = float((slopes[index - 1] * math.log((index + 1) / index)).exp())
    strength = float(strengths[index - 1])
    return Elbow(index, strength, drop) if strength > 1 else None


def _typical_slopes(slopes: Tensor) -> Tensor:
    """Return the median slope around each rank k, of the ranks k/2 … 2 k + 8."""
    count = len(slopes)
    found = torch.zeros(count, dtype=torch.float64)
    for index in range(count):
        near = slopes[(index + 1) // 2 : 2 * index + 2 + _MORE_RANKS]
        found[index] = near.median()
    return found


def _limits_of(null: Null, reach: int) -> Tensor:
    """Return the slope at each of the first ranks that a null exceeds anywhere in 5 % of cases."""
    slopes = local_slopes(null.spectra)[:, :reach]
    mean = slopes.mean(0).clamp_min(_FLOOR)
    return mean * limit_of_quantile((slopes / mean).amax(1))


def local_slopes(eigenvalues: Tensor) -> Tensor:
    """Return the slopes (..., n − 1) of spectra (..., n), descending, on log–log axes.

    Examples
    --------
    >>> local_slopes(1 / torch.arange(1, 6).double() ** 2).round(decimals=6)
    tensor([2., 2., 2., 2.], dtype=torch.float64)
    """
    k = torch.arange(1, eigenvalues.shape[-1] + 1, dtype=torch.float64)
    floor = eigenvalues[..., :1] * _FLOOR
    return -eigenvalues.clamp_min(floor).log().diff() / k.log().diff()
