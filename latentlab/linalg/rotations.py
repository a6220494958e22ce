"""Numbers of a basis beside those of the same space turned at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from latentlab.linalg.bases import random_rows

ROTATIONS = 199
_TIE = 1e-6


@dataclass(frozen=True)
class Turned:
    """A number, and what it is after random rotations of the space.

    Parameters
    ----------
    value : float
    rotated : float, mean over rotations
    p : float, chance of a value as extreme, on the side where axes matter, if they are arbitrary
    """

    value: float
    rotated: float
    p: float

    def facts(self) -> dict[str, float]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def beside_rotations(
    measure: Callable[[Tensor], Tensor],
    size: int,
    *,
    smaller: bool,
    seed: int = 0,
    rotations: int = ROTATIONS,
) -> Turned:
    """Return a number at the axes, beside its values after random rotations.

    Parameters
    ----------
    measure : maps an orthogonal matrix (size, size), float64, to a number
    size : int, dimensions of the space
    smaller : bool, whether the number is smaller where axes matter
    seed, rotations : of the random rotations

    Examples
    --------
    >>> found = beside_rotations(lambda turn: (turn[0] ** 4).sum(), 8, smaller=False)
    >>> found.value, found.rotated < 0.5, found.p
    (1.0, True, 0.005)
    """
    value = float(measure(torch.eye(size, dtype=torch.float64)))
    turned = torch.tensor([float(measure(turn)) for turn in _turns(size, rotations, seed)])
    tie = _TIE * max(1.0, abs(value))
    extreme = turned <= value + tie if smaller else turned >= value - tie
    return Turned(value, float(turned.mean()), (1 + int(extreme.sum())) / (1 + rotations))


def _turns(size: int, rotations: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(rotations):
        yield random_rows(size, size, generator).double()
