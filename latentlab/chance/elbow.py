"""Where a spectrum drops more sharply than chance, smooth fields and its own decay explain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.chance.nulls.base import Null, limit_of_quantile
from latentlab.latents import Spectrum

_TIMES_TYPICAL = 4.0
_FEWEST_RANKS = 10
# Smaller eigenvalues are rounding errors.
_FLOOR = 1e-12


@dataclass(frozen=True)
class Elbow:
    """A drop of the spectrum.

    Parameters
    ----------
    index : int, the number of components before the drop
    strength : float, the log–log slope at the drop over the largest expected one; above 1
    drop : float, λ_index / λ_index+1
    """

    index: int
    strength: float
    drop: float


def find_elbow(spectrum: Spectrum, nulls: Iterable[Null], n_above: int) -> Elbow | None:
    """Return the elbow of a spectrum; None if it has none beyond all these nulls.

    The drop after component k is measured by the slope of the spectrum on log–log axes,
    s_k = ln(λ_k/λ_{k+1}) / ln((k+1)/k), which is constant if λ_k ∝ k^−a. It is a scale-free form of
    the eigenvalue ratio of Lam and Yao 2012 (1206.0613) and Ahn and Horenstein 2013.
    The largest slope among the components above chance is an elbow if

    * λ_1 … λ_k lie above the 95 % quantile of the same rank of every null,
    * no null has so large a slope over these ranks, with 95 % probability,
    * it is four times the median slope of the first 2 n_above (at least 10) ranks.

    Parameters
    ----------
    spectrum : Spectrum
    nulls : the nulls that were drawn; analytic ones are skipped, since they have no gaps
    n_above : int, how many components rise above chance

    Examples
    --------
    >>> values = torch.tensor([30.0, 25.0, 20.0, *(1 - 0.01 * torch.arange(20.0))]).double()
    >>> spectrum = Spectrum(values, float(values.sum()), 24, 100)
    >>> find_elbow(spectrum, [], 3).index
    3
    """
    slopes = local_slopes(spectrum.explained_variance)
    reach = min(n_above, len(slopes))
    if reach < 1:
        return None
    index = int(slopes[:reach].argmax()) + 1
    slope = float(slopes[index - 1])
    limits = [_TIMES_TYPICAL * float(slopes[: max(_FEWEST_RANKS, 2 * n_above)].median())]
    for null in nulls:
        if not null.draws:
            continue
        if not (spectrum.explained_variance[:index] > null.eigenvalue_limits[:index]).all():
            return None
        limits.append(limit_of_quantile(local_slopes(null.spectra)[:, :reach].amax(1)))
    strength = slope / max(*limits, _FLOOR)
    drop = float((slope * torch.tensor((index + 1) / index).log()).exp())
    return Elbow(index, strength, drop) if strength > 1 else None


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
