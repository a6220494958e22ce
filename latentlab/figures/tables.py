"""Results as tables: HTML for notebooks, and frames of pandas.

The HTML has no colors of its own, so it takes those of a light or a dark page.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from typing import Any

from latentlab.errors import MissingExtraError

_MOST = 40
"""Rows that are shown; ``to_frame`` has all."""
_LARGE, _HUGE = 9999.5, 1e9
"""Numbers between these are written out: with four digits they would get an exponent."""
_NUMBER = re.compile(r"–?$|[-+−<≥≈±]?\s*[.\d]|(nan|inf)")


class Strong(str):
    """Text of a cell in bold."""

    __slots__ = ()


def html_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return a table as HTML, with a title above and a paragraph of each note below.

    All text is escaped. Columns of words are aligned to the left, those of numbers to the right.

    Parameters
    ----------
    headings : of the columns
    rows : cells of each row; numbers get four digits, None a dash, ``Strong`` is bold
    title : str, above the table
    notes : of a paragraph each, below; empty ones are left out

    Examples
    --------
    >>> html_table(["name"], [["<b>"]])
    '<div><table><thead><tr><th style="text-align:left">name</th></tr></thead><tbody><tr><td \
style="text-align:left">&lt;b&gt;</td></tr></tbody></table></div>'
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    shown = cells[:_MOST]
    sides = [
        "right" if shown and all(_NUMBER.match(row[column]) for row in shown) else "left"
        for column in range(len(headings))
    ]
    head = "".join(
        f'<th style="text-align:{side}">{_plain(text)}</th>'
        for text, side in zip(headings, sides, strict=True)
    )
    body = "".join(f"<tr>{_row(row, sides)}</tr>" for row in shown)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    more = f"{len(cells) - _MOST:,} more rows: see to_frame()." if len(cells) > _MOST else ""
    return html_block(title, table if shown else "", (more, *notes))


def html_block(title: str, inside: str, notes: Sequence[str] = ()) -> str:
    """Return HTML with a title above it and a paragraph of each note below; both are escaped."""
    above = f"<p><b>{_lines(title)}</b></p>" if title else ""
    below = "".join(f"<p>{_lines(note)}</p>" for note in notes if note)
    return f"<div>{above}{inside}{below}</div>"


def html_image(content: bytes, alternative: str, kind: str = "png") -> str:
    """Return an image inline, for a page without other files.

    Parameters
    ----------
    content : the bytes of the file
    alternative : str, what it shows, for those who cannot see it
    kind : str, of the image, such as ``"webp"``
    """
    data = base64.b64encode(content).decode()
    source = f'src="data:image/{kind};base64,{data}"'
    return f'<img {source} alt="{_plain(alternative)}" style="max-width:100%">'


def frame_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Any:
    """Return a pandas DataFrame with a row for each mapping; what is missing is NaN in numbers.

    Parameters
    ----------
    rows : column → value
    columns : names of the columns; by default those of the rows

    Raises
    ------
    MissingExtraError : pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise MissingExtraError(
            "to_frame() without pandas", "pandas", "run pip install pandas"
        ) from error
    # Names may hold bytes that are not text, which columns of strings refuse.
    frame = pandas.DataFrame([*rows], columns=columns, dtype=object)
    for name in frame:
        if all(_is_number(value) for value in frame[name]):
            frame[name] = pandas.to_numeric(frame[name])
    return frame


def as_rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the rows of columns of one length.

    Examples
    --------
    >>> as_rows({"name": ["a", "b"], "size": [1, 2]})
    [{'name': 'a', 'size': 1}, {'name': 'b', 'size': 2}]
    """
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _row(row: Sequence[str], sides: Sequence[str]) -> str:
    cells = []
    for text, side in zip(row, sides, strict=True):
        inside = f"<b>{_plain(text)}</b>" if isinstance(text, Strong) else _plain(text)
        cells.append(f'<td style="text-align:{side}">{inside}</td>')
    return "".join(cells)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        whole = isinstance(value, int) or _LARGE <= abs(value) < _HUGE
        return f"{value:{',.0f' if whole else '.4g'}}".replace("-", "\N{MINUS SIGN}")
    return str(value)


def _plain(text: str) -> str:
    # A name may hold bytes that are no UTF-8, which no notebook can store.
    return escape(text.encode(errors="backslashreplace").decode())


def _lines(text: str) -> str:
    return "<br>".join(map(_plain, text.splitlines()))
