"""Text that is broken into lines, and names that are shortened, to fit a width."""

from __future__ import annotations

import re
from collections.abc import Callable

Measure = Callable[[str], float]
"""What returns the width of a line."""

# "N = 64" and "1.6 %" stay together, and no line begins with a dot.
_BREAKS = re.compile(r"(?<!=)\s+(?![=·%])")


def wrap(text: str, measure: Measure, width: float, most: int) -> list[str]:
    """Return at most so many lines of words, none wider than the width; … where cut.

    A word that is wider than a line, such as a long file name, is shortened in the middle.

    Examples
    --------
    >>> wrap("three short words", len, 11, 3)
    ['three short', 'words']
    >>> wrap("IMG_2024_holiday_0001.jpg · mini", len, 15, 3)
    ['IMG_202…1.jpg ·', 'mini']
    >>> wrap("zoom (ρ .70, ±1.6 %)", len, 18, 3)
    ['zoom (ρ .70,', '±1.6 %)']
    """
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in _BREAKS.split(paragraph.strip()):
            longer = f"{line} {word}".strip()
            if line and measure(longer) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1] + "…"]
    return [_cut(line, measure, width) for line in lines]


def _cut(line: str, measure: Measure, width: float) -> str:
    if measure(line) <= width:
        return line
    if line.endswith("…"):
        line = line.rstrip("…")
        while line and measure(line + "…") > width:
            line = line[:-1]
        return line + "…"
    return shorten(line, measure, width)


def shorten(name: str, measure: Measure, width: float) -> str:
    """Return a name with … in its middle if it is wider than the width.

    Examples
    --------
    >>> shorten("a very long name.jpg", len, 12)
    'a very…e.jpg'
    """
    kept = len(name)
    shown = name
    while kept and measure(shown) > width:
        kept -= 1
        end = kept // 2
        shown = f"{name[: kept - end].rstrip()}…{name[len(name) - end :].lstrip()}"
    return shown
