"""How fast the eigenvalues of a spectrum fall: the exponent of a power law over stated ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FOLDS = 5
"""Parts of the rows, each of which is held out once."""
_LEAST_HELD = 0.4  # of an eigenvalue's share in rows held out, to be corrected
_OF_ALL = 8
_FEWEST = 12


@dataclass(frozen=True)
class Decay:
    """λ_k ∝ k^−exponent over the ranks first … last, with a 95 % interval.

    An exponent of 1 makes the cumulative curve logarithmic.
    """

    exponent: float
    lower: float
    upper: float
    first: int
    last: int


NO_DECAY = dict.fromkeys(("exponent", "lower", "upper", "first", "last"))
"""The facts of an unknown decay."""


def correct(in_sample: Tensor, held_out: Tensor, kept: float = 1 - 1 / FOLDS) -> Tensor:
    """Return shares of the variance corrected for sampling, from those of rows held out.

    To first order in 1/N an eigenvalue of the samples is too large by as much as the variance of
    other rows along its component is too small. If components come from a part ``kept`` of the
    rows, theirs misses by more.
    """
    return (in_sample + kept * held_out) / (1 + kept)


def last_rank(shares: Tensor, held_out: Tensor) -> int:
    """Return the last rank (n,) up to which eigenvalues can be corrected; 0 for fewer than twelve.

    They have two fifths of their share in rows held out, and are an eighth of all ranks at most.
    """
    known = (held_out >= _LEAST_HELD * shares).cumprod(0)
    last = min(int(known.sum()), (len(shares) + 1) // _OF_ALL)
    return last if last >= _FEWEST else 0


def find_decay(whole: Tensor, half: Tensor, last: int, reach: float) -> Decay | None:
    """Return the decay over ranks 1 … last, extrapolated from half the rows to infinitely many.

    Parameters
    ----------
    whole : Tensor, (n,), shares corrected for sampling from all rows
    half : Tensor, (m,), the same from half the rows. What the correction misses falls as 1/N, so
        twice the exponent of all less that of half the rows lacks it.
    last : int
    reach : float, half the width of the interval

    Examples
    --------
    >>> values = torch.arange(1, 41).double() ** -1.5
    >>> round(find_decay(values, values, 10, 0.1).exponent, 3)
    1.5
    """
    if not last or not ((whole[:last] > 0).all() and (half[:last] > 0).all()):
        return None
    exponent = float(2 * exponent_of(whole[:last]) - exponent_of(half[:last]))
    return Decay(exponent, exponent - reach, exponent + reach, 1, last)


def exponent_of(values: Tensor) -> Tensor:
    """Return −slope of ln λ_k (..., n) against ln k."""
    return values.log() @ weights_of(values.shape[-1])


def weights_of(count: int) -> Tensor:
    """Return what each ln λ_k adds to the exponent; ranks weigh 1/k, their share of ln k."""
    k = torch.arange(1, count + 1, dtype=torch.float64)
    weight = (1 / k) / (1 / k).sum()
    x = k.log() - (weight * k.log()).sum()
    return -weight * x / (weight * x.square()).sum()
