"""Fonts that have the glyphs of a text, and a text that fonts can show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.text import Text

MISSING = "□"
"""What is drawn for a character that no installed font has."""

_USUAL = "DejaVu Sans"  # comes with matplotlib
_WITHOUT_GLYPHS = "Last Resort"  # comes with matplotlib, too: a frame for each script
_RIGHT_TO_LEFT = ("R", "AL")


@dataclass(frozen=True)
class Face:
    """A font of this machine.

    Parameters
    ----------
    path : str, of the file
    index : int, of the face in the file
    family : str, the name under which matplotlib finds it
    """

    path: str
    index: int
    family: str

    def has(self, character: str) -> bool:
        """Return whether the font draws a character."""
        return ord(character) in _characters(self.path, self.index)


def usual_face() -> Face:
    """Return the font that comes with matplotlib."""
    from matplotlib import font_manager

    return Face(str(font_manager.findfont(_USUAL)), 0, _USUAL)


def faces_for(text: str) -> list[Face]:
    """Return the usual font, and installed fonts with the characters of a text that it lacks.

    Examples
    --------
    >>> [face.family for face in faces_for("flower.jpg, 3 σ")]
    ['DejaVu Sans']
    """
    faces = [usual_face()]
    missing = {character for character in text if not faces[0].has(character)}
    for face in _installed() if any(map(_is_visible, missing)) else ():
        added = {character for character in missing if face.has(character)}
        if added:
            faces.append(face)
            missing -= added
        if not missing:
            break
    return faces


def drawable(text: str) -> str:
    r"""Return a text in which □ stands for each character that no installed font has.

    Bytes of a file name that are no text become question marks. Lines stay lines, and characters
    without a form, such as joiners, are left out where fonts lack them.

    Examples
    --------
    >>> drawable("a private character: \U0010fffd")
    'a private character: □'
    """
    valid = text.encode("utf-8", "replace").decode("utf-8")
    faces = faces_for(valid)
    return "".join(_shown(character, faces) for character in valid)


def _shown(character: str, faces: Iterable[Face]) -> str:
    if character == "\n" or any(face.has(character) for face in faces):
        return character
    if character.isspace():
        return " "
    return MISSING if _is_visible(character) else ""


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cf", "Mn", "Zs", "Zl", "Zp")


def is_right_to_left(text: str) -> bool:
    """Return whether a text has letters that are written from right to left."""
    return any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)


def dress(text: Text, content: str) -> None:
    """Let a text of a figure show this content as it is, in fonts that have its glyphs."""
    import matplotlib

    shown = drawable(content)
    # An image's name may hold dollar signs, which are no formula.
    text.set(text=shown, parse_math=False)
    more = [face.family for face in faces_for(shown)[1:]]
    if more:
        text.set_fontfamily([*matplotlib.rcParams["font.family"], _USUAL, *more])


def _installed() -> list[Face]:
    """Return the outline fonts of this machine: Noto's and regular ones first."""
    from matplotlib import font_manager

    entries = [
        entry
        for entry in font_manager.fontManager.ttflist
        if entry.size == "scalable" and not entry.name.startswith(_WITHOUT_GLYPHS)
    ]
    # Before matplotlib 3.11 only the first face of a file is known.
    faces = {_order(entry): Face(entry.fname, _index(entry), entry.name) for entry in entries}
    return [faces[key] for key in sorted(faces)]


def _order(entry: Any) -> tuple[Any, ...]:
    weight = entry.weight if isinstance(entry.weight, int) else 400
    regular = entry.style != "normal", abs(weight - 400)
    return (*regular, not entry.name.startswith("Noto Sans"), entry.name, entry.fname)


def _index(entry: Any) -> int:
    return int(getattr(entry, "index", 0))


@cache
def _characters(path: str, index: int) -> frozenset[int]:
    """Return the characters that a font draws; none if it cannot be read or has no outlines."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path, face_index=index) if index else FT2Font(path)
    except (OSError, RuntimeError, TypeError):
        return frozenset()
    # Fonts of colored bitmaps, as some for emoji, cannot be scaled.
    return frozenset(font.get_charmap() if getattr(font, "scalable", True) else ())
