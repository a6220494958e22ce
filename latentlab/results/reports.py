"""One HTML file with everything in it: text, tables and images, without network and scripts."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from latentlab.machine.files import write_bytes

LARGEST = 15_000_000
"""Bytes of a report: mail servers and phones take it."""
_STYLE = Path(__file__).with_name("report.css")
_MIME = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".svg": "image/svg+xml"}
_COMMAND = re.compile(r"`([^`]+)`")
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")


def _phrase(words: str) -> str:
    """Return plain text as HTML: commands in their type, and no line that begins with a %."""
    return _COMMAND.sub(r"<code>\1</code>", escape(words)).replace(" %", "\u00a0%")


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Parameters
    ----------
    words : str, plain text
    kind : ``""``, ``"dim"``, ``"found"`` or ``"healthy"``
    """

    words: str
    kind: str = ""

    def html(self) -> str:
        """Return the paragraph as HTML."""
        kind = f' class="{self.kind}"' if self.kind else ""
        return f"<p{kind}>{_phrase(self.words)}</p>"


@dataclass(frozen=True)
class Table:
    """A table; cells are plain text.

    Parameters
    ----------
    headings : str of each column
    rows : str of each cell
    numbers : columns whose cells are not broken
    prose : bool, whether the last column holds sentences: on a phone, cells stand below each other
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    prose: bool = False

    def html(self) -> str:
        """Return the table as HTML, scrolling by itself where it is too wide."""
        cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.headings)
        # A row of empty headings would be drawn as a line of its own.
        head = f"<thead><tr>{cells}</tr></thead>" if any(self.headings) else ""
        body = "".join(f"<tr>{''.join(self._cells(row))}</tr>" for row in self.rows)
        kind = ' class="prose"' if self.prose else ""
        table = f"<table{kind}>{head}<tbody>{body}</tbody></table>"
        return f'<div class="wide">{table}</div>'

    def _cells(self, row: Sequence[str]) -> list[str]:
        return [
            f'<td class="number">{escape(_MINUS.sub("−", cell))}</td>'
            if column in self.numbers
            else f"<td>{_phrase(cell)}</td>"
            for column, cell in enumerate(row)
        ]


@dataclass(frozen=True)
class Images:
    """Images beside each other where there is room.

    Parameters
    ----------
    files : Path of each, PNG, WebP, GIF or SVG
    captions : str of each
    large : bool, whether at most two stand beside each other
    """

    files: Sequence[Path]
    captions: Sequence[str]
    large: bool = False

    def html(self) -> str:
        """Return the images as HTML, with their bytes inside."""
        figures = [_figure(*one) for one in zip(self.files, self.captions, strict=True)]
        kind = "row large" if self.large else "row"
        return f'<div class="{kind}">{"".join(figures)}</div>' if len(figures) > 1 else figures[0]


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    words: Sequence[str]

    def html(self) -> str:
        """Return the list as HTML."""
        return f"<ul>{''.join(f'<li>{_phrase(words)}</li>' for words in self.words)}</ul>"


@dataclass(frozen=True)
class Folded:
    """Text whose lines stay as they are, such as a record, shown when its name is touched."""

    name: str
    words: str

    def html(self) -> str:
        """Return the lines as HTML."""
        name, words = escape(self.name), escape(self.words)
        return f"<details><summary>{name}</summary><pre>{words}</pre></details>"


Block = Text | Table | Images | Items | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    heading: str
    blocks: Sequence[Block]

    def html(self) -> str:
        """Return the section as HTML."""
        inside = "\n".join(block.html() for block in self.blocks)
        return f"<section><h2>{escape(self.heading)}</h2>\n{inside}\n</section>"


def write_page(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a report as one HTML file; return its path.

    Images are left out from the last one on, and that is said in their place, until the file is
    smaller than 15 MB.

    Parameters
    ----------
    path : Path
    title : str
    sections : Section of each part, in order

    Raises
    ------
    FileError : the file cannot be written.
    """
    page = _page(title, sections)
    while len(page) > LARGEST and (fewer := _without_last_images(sections)):
        sections, page = fewer, _page(title, fewer)
    return write_bytes(path, page)


def _page(title: str, sections: Sequence[Section]) -> bytes:
    body = "\n".join(section.html() for section in sections)
    style = _STYLE.read_text(encoding="utf-8")
    text = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
    # A file's name may hold bytes that are no UTF-8.
    return text.encode(errors="backslashreplace")


def _without_last_images(sections: Sequence[Section]) -> list[Section]:
    """Return the sections with their last images replaced by a sentence; nothing without any."""
    found = list(sections)
    for number, section in reversed([*enumerate(found)]):
        for at, block in reversed([*enumerate(section.blocks)]):
            if isinstance(block, Images):
                names = ", ".join(file.name for file in block.files)
                said = Text(f"Left out, since the page would exceed 15 MB: {names}.", "dim")
                blocks = [*section.blocks[:at], said, *section.blocks[at + 1 :]]
                found[number] = Section(section.heading, blocks)
                return found
    return []


def _figure(file: Path, caption: str) -> str:
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    image = f'<img alt="{escape(caption)}" src="data:{_MIME[file.suffix]};base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
