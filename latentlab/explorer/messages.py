"""What a page may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from latentlab.explorer.state import State


@dataclass(frozen=True)
class Show:
    """Decode a state; ``id`` numbers the page's states in order."""

    id: int
    state: State


@dataclass(frozen=True)
class Fit:
    """Sample around the image and find directions; None leaves a number to the server."""

    neighborhood: str
    finder: str
    n_samples: int | None
    region: tuple[int, int, int, int] | None
    seed: int
    settings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Cancel:
    """Stop the long work that this page asked for, or of it only the colors."""

    errand: str = ""


@dataclass(frozen=True)
class Picture:
    """An image's file, to explore or, as ``role="other"``, to blend with."""

    role: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Restart:
    """Go back to the image that the server was started with."""


@dataclass(frozen=True)
class Record:
    """Write a walk along one direction, through a state, as a file to download."""

    direction: int
    span: float
    steps: int
    format: str
    state: State


@dataclass(frozen=True)
class Code:
    """Write the Python that makes the image of a state."""

    state: State


@dataclass(frozen=True)
class Pick:
    """Explore an image of the store, by its number."""

    number: int


@dataclass(frozen=True)
class Color:
    """Measure what the images of the store are colored by, by its name.

    ``numbers`` are the images to decode, if it needs that.
    """

    name: str
    numbers: tuple[int, ...] = ()


Message: TypeAlias = Show | Fit | Cancel | Picture | Restart | Record | Code | Pick | Color
