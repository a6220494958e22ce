"""What one examination found: :class:`Finding`, and where: :class:`Place`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels."""


@dataclass(frozen=True)
class Place:
    """Where a finding is best seen.

    Parameters
    ----------
    image : int, number of the image, from 0
    box : (x, y, width, height) in pixels of that image
    in_latent : bool, whether to look at the latent instead of the reconstruction
    """

    image: int
    box: Box
    in_latent: bool = False


@dataclass(frozen=True)
class Finding:
    """The result of one examination.

    Parameters
    ----------
    name : str, of the examination, such as ``"lattice"``
    found : bool; None if it could not be examined
    value : float, in ``unit``; None if there is none
    threshold : float, beyond which it counts as found; None if the value alone does not decide
    unit : str, of both
    says : str, what the value is, in words
    reason : str, why the threshold is where it is
    advice : str, what to do if it was found
    place : Place, optional
    problem : str, why it could not be examined
    """

    name: str
    found: bool | None
    value: float | None = None
    threshold: float | None = None
    unit: str = ""
    says: str = ""
    reason: str = ""
    advice: str = ""
    place: Place | None = None
    problem: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the finding, JSON-ready."""
        return asdict(self)


def beyond(name: str, value: float, threshold: float, unit: str, **words: Any) -> Finding:
    """Return a finding that counts if its value is above the threshold.

    Examples
    --------
    >>> beyond("lattice", 3.2, 1.5, "levels").found
    True
    >>> beyond("lattice", float("nan"), 1.5, "levels").problem
    'the value is not a number'
    """
    return _judged(name, value > threshold, value, threshold, unit, words)


def below(name: str, value: float, threshold: float, unit: str, **words: Any) -> Finding:
    """Return a finding that counts if its value is below the threshold."""
    return _judged(name, value < threshold, value, threshold, unit, words)


def unexamined(name: str, problem: str) -> Finding:
    """Return a finding that could not be examined, and why."""
    return Finding(name, None, problem=problem)


def _judged(
    name: str, found: bool, value: float, threshold: float, unit: str, words: dict[str, Any]
) -> Finding:
    if math.isnan(value):
        return unexamined(name, "the value is not a number")
    return Finding(name, bool(found), float(value), float(threshold), unit, **words)
