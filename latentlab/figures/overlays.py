"""What an axis shows already, so that another curve can join it; how its curves are told apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes

Series = TypeVar("Series")
_SEPARATORS = re.compile(r"( · |\n| (?=\(N = )|, (?![^()]*\)))")


class Drawn(Artist):
    """An invisible member of an axis that remembers the series drawn on it.

    Parameters
    ----------
    kind : str, what is drawn; series of one kind share an axis
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.series: list[Any] = []
        self.artists: list[Artist] = []
        self.set_in_layout(False)

    def draw(self, renderer: Any) -> None:
        """Draw nothing."""

    def erase(self) -> None:
        """Remove what was drawn for the series so far."""
        for artist in self.artists:
            if artist.axes is not None:
                artist.remove()
        self.artists = []


def join(
    ax: Axes, kind: str, series: Series, draw: Callable[[Axes, Sequence[Series]], None]
) -> None:
    """Draw a series together with those of the same kind that are on an axis.

    Parameters
    ----------
    ax : Axes; what others have drawn on it stays
    kind : str
    series : what to draw
    draw : called with the axis and all series
    """
    found = [artist for artist in ax.artists if isinstance(artist, Drawn) and artist.kind == kind]
    drawn = found[0] if found else Drawn(kind)
    if not found:
        ax.add_artist(drawn)
    drawn.erase()
    drawn.series.append(series)
    with _recording(ax, drawn):
        draw(ax, drawn.series)


@contextmanager
def _recording(ax: Axes, drawn: Drawn) -> Iterator[None]:
    before = {id(artist) for artist in ax.get_children()}
    yield
    new = [artist for artist in ax.get_children() if id(artist) not in before]
    drawn.artists = [artist for artist in new if artist is not ax.get_legend()]


def tell_apart(titles: Sequence[str], labels: Sequence[str]) -> tuple[str, list[str]]:
    """Return the title that several curves share, and a label for each that says what differs.

    Parameters
    ----------
    titles : one for each curve
    labels : one for each curve; equal ones get the parts of the title that differ

    Examples
    --------
    >>> tell_apart(["a.jpg · mini · 64 px", "b.jpg · mini · 64 px"], ["augment", "augment"])
    ('mini · 64 px', ['augment: a.jpg', 'augment: b.jpg'])
    >>> tell_apart(["a.jpg", "a.jpg"], ["augment", "augment"])
    ('a.jpg', ['augment', 'augment (2)'])
    """
    parts = [_SEPARATORS.split(title)[::2] for title in titles]
    common = set(parts[0]).intersection(*parts)
    told = [
        f"{label}: {' · '.join(own)}" if (own := _own(mine, common, label)) else label
        for mine, label in zip(parts, labels, strict=True)
    ]
    seen: Counter[str] = Counter()
    unique = []
    for name in told:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return _joined(titles[0], common), unique


def _own(parts: Sequence[str], common: set[str], label: str) -> list[str]:
    """Return the parts of a title that others lack and the label does not say."""
    return [part.strip("()") for part in parts if part not in common and label not in part]


def _joined(title: str, common: set[str]) -> str:
    """Return a title without the parts that are not common, and without their separators."""
    pieces = _SEPARATORS.split(title)
    joined, separator = "", ""
    for part, following in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        if part in common:
            joined += (separator if joined else "") + part
            separator = following
        elif following == "\n":
            separator = following
    return joined
