"""How far an interval reaches to either side of a number, in standard errors of it.

Two corrections of ±1.96 standard errors:

* A standard error from few contributions, or from some that are much larger than others, is
  uncertain itself. Student's t with U/κ degrees of freedom allows for it, where κ is the kurtosis
  of the contributions (Satterthwaite 1946).
* If contributions are skewed, samples without the rare large ones have a number that is off to one
  side *and* a standard error that is too small. To first order the standard error changes by γ/2√U
  standard errors for each standard error by which the number changes, γ being the skewness. The
  interval is therefore symmetric on the scale on which the standard error does not change
  (variance stabilization), and longer on the side of the rare large contributions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEVEL = 0.95
_FEWEST_FREE = 1.5  # degrees of freedom
_MOST_BENT = 0.95  # of the way to where the scale ends, at which a reach is infinite


@dataclass(frozen=True)
class Interval:
    """A number and the bounds of its 95 % interval; the upper one may be infinite."""

    value: float
    lower: float
    upper: float


def student(contributions: Tensor, draws: float = math.inf) -> Tensor:
    """Return how many standard errors make a 95 % interval, from contributions (U, ...).

    Student's t with U/κ degrees of freedom, κ the kurtosis, fewer if the error itself was found
    from this number of draws.

    Examples
    --------
    >>> student(torch.tensor([[-1.0], [1.0]] * 500)).round(decimals=2)
    tensor([1.9600], dtype=torch.float64)
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    centered = (contributions - contributions.mean(0)).double()
    square = centered.square().sum(0)
    freedom = 1 / (centered.pow(4).sum(0) / square.square() + 1 / draws)
    known = freedom.nan_to_num(_FEWEST_FREE).clamp_min(_FEWEST_FREE)
    return torch.as_tensor(stdtrit(known.numpy(), (1 + LEVEL) / 2))


def reaches(contributions: Tensor, draws: float = math.inf) -> tuple[Tensor, Tensor]:
    """Return how many standard errors a 95 % interval reaches down and up.

    Parameters
    ----------
    contributions : Tensor, (U, ...), to the number, up to a constant and a positive factor
    draws : from which the standard error was found

    Examples
    --------
    >>> down, up = reaches(torch.tensor([[0.0]] * 99 + [[1.0]]))
    >>> bool(down < up)
    True
    """
    centered = (contributions - contributions.mean(0)).double()
    skew = centered.pow(3).sum(0) / centered.square().sum(0).pow(1.5)
    wide = student(contributions, draws)
    bend = (skew.nan_to_num(0.0) / 2 * wide).clamp(-_MOST_BENT, _MOST_BENT)
    return wide * _bent(bend), wide * _bent(-bend)


def _bent(bend: Tensor) -> Tensor:
    """Return ln(1 + b)/b, which is 1 at b = 0."""
    straight = bend.abs() < 1e-6
    return torch.where(straight, 1 - bend / 2, bend.log1p() / torch.where(straight, 1, bend))
