"""Text on sheets: Pillow's letters, in fonts that have the glyphs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import groupby

from PIL import ImageDraw, ImageFont, features

from latentlab.figures.fonts import Face, drawable, faces_for, is_right_to_left
from latentlab.figures.words import wrap

_INK = (32, 32, 32)


def text_height(lines: Sequence[str], size: int) -> int:
    """Return the height of lines of text in pixels."""
    return len(lines) * round(1.35 * size) + (4 if lines else 0)


def wrap_line(text: str, size: int, width: int, most: int) -> list[str]:
    """Return at most so many lines of words, none wider than ``width`` pixels; … where cut."""
    return wrap(drawable(text), partial(_length, size=size), width, most)


def write(
    pen: ImageDraw.ImageDraw, lines: Sequence[str], size: int, at: tuple[int, int], anchor: str
) -> None:
    """Write lines of text from a point downwards.

    Parameters
    ----------
    pen : on the sheet
    lines : as :func:`wrap_line` returns them
    size : of the font, in pixels
    at : x, y
    anchor : ``"la"``, left of the first line at the point, or ``"ma"``, its middle
    """
    for index, line in enumerate(lines):
        x, y = float(at[0]), at[1] + index * round(1.35 * size)
        runs = _runs(line)
        if len(runs) > 1 and anchor == "ma":
            x, anchor = x - _length(line, size) / 2, "la"
        for face, text in runs:
            font = _font(face, size, _shaped(text))
            # Fonts have different heights above the line on which all letters stand.
            down = _font(runs[0][0], size, False).getmetrics()[0]
            pen.text((x, y + down), text, fill=_INK, font=font, anchor=f"{anchor[0]}s")
            x += font.getlength(text)


def _length(line: str, size: int) -> float:
    return sum(_font(face, size, _shaped(text)).getlength(text) for face, text in _runs(line))


def _runs(line: str) -> list[tuple[Face, str]]:
    """Return the parts of a line, each with a font that has its glyphs."""
    faces = faces_for(line)

    def face_of(character: str) -> Face:
        return next((face for face in faces if face.has(character)), faces[0])

    return [(face, "".join(part)) for face, part in groupby(line, face_of)]


def _shaped(text: str) -> bool:
    """Return whether letters must be joined and turned around, where this Pillow can do that."""
    return is_right_to_left(text) and bool(features.check("raqm"))


@cache
def _font(face: Face, size: int, shaped: bool) -> ImageFont.FreeTypeFont:
    engine = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    return ImageFont.truetype(face.path, size, index=face.index, layout_engine=engine)
