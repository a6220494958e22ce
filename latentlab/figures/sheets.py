"""Grids of images with labels: drawn once, filled for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from latentlab.errors import ShapeError
from latentlab.figures.animation import Frame
from latentlab.figures.lettering import text_height, wrap_line, write

_PAPER = (255, 255, 255)
_GUTTER = 4
_MARGIN = 10
_LABEL_WIDTH = 132
_SMALL_TILE = 96
_TITLE_LINES = 5
MOST_COLUMNS = 16
"""More would make a sheet too wide for a page or a screen."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """An empty grid with its labels drawn, ready for tiles.

    Parameters
    ----------
    canvas : (H, W, 3), uint8
    tile_size : (height, width) of a tile on the sheet
    tops, lefts : where the rows and columns of tiles begin
    """

    canvas: Frame
    tile_size: tuple[int, int]
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def draw(self, rows: Sequence[Sequence[Frame]]) -> Frame:
        """Return the sheet (H, W, 3), uint8, with tiles (h, w, 3); short rows leave blanks.

        Raises
        ------
        ShapeError : more rows or columns than the sheet has, or a tile that is not uint8 (h, w, 3).
        """
        if len(rows) > len(self.tops) or max(map(len, rows), default=0) > len(self.lefts):
            raise ShapeError(
                f"{len(rows)} rows of up to {max(map(len, rows), default=0)} tiles",
                f"at most {len(self.tops)} rows of {len(self.lefts)}",
                "lay out a larger sheet",
            )
        sheet = self.canvas.copy()
        height, width = self.tile_size
        for top, row in zip(self.tops, rows, strict=False):
            for left, tile in zip(self.lefts, row, strict=False):
                sheet[top : top + height, left : left + width] = self.scale(tile)
        return sheet

    def scale(self, tile: Frame) -> Frame:
        """Return a tile (h, w, 3) in its size on the sheet, which is then drawn as it is."""
        return _scale(tile, self.tile_size)


def thin(count: int, most: int = MOST_COLUMNS) -> list[int]:
    """Return which of so many steps to show: both ends, evenly spaced ones, and the middle step.

    The steps are symmetric about the middle, and an odd number keeps its middle step, where a walk
    stands at zero. Their spacing is even where that leaves more than half of ``most``; elsewhere
    it differs by one.

    Examples
    --------
    >>> thin(5), thin(61, most=5), thin(60, most=4), thin(21)
    ([0, 1, 2, 3, 4], [0, 15, 30, 45, 60], [0, 20, 39, 59], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20])
    """
    if count <= most:
        return list(range(count))
    shown = most - (most % 2 != count % 2)
    even = (fewer for fewer in range(shown, most // 2, -2) if (count - 1) % (fewer - 1) == 0)
    shown = next(even, shown)
    first = [round(index * (count - 1) / (shown - 1)) for index in range((shown + 1) // 2)]
    return sorted({*first, *(count - 1 - index for index in first)})


def lay_out_sheet(
    tile_shape: tuple[int, ...],
    *,
    row_labels: Sequence[str],
    columns: int,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
    tile: int | None = None,
) -> Sheet:
    """Return a labeled, empty sheet for tiles of one shape.

    Parameters
    ----------
    tile_shape : (h, w, …) of the tiles that will be drawn
    row_labels : one for each row, wrapped to six lines in a column on the left; all empty
        means no such column
    columns : tiles in a row
    column_labels : one for each column, above the grid, in at most two lines
    title : first line of the sheet
    tile : longest side of a tile in pixels; larger tiles are shrunk to it (LANCZOS). Tiles under
        96 px are enlarged by a whole factor (nearest neighbor) to at least that, or to ``tile``.

    Raises
    ------
    ShapeError : another number of column labels than columns, or nothing to show.

    Examples
    --------
    >>> sheet = lay_out_sheet((64, 64, 3), row_labels=["PC 1", "PC 2"], columns=3)
    >>> sheet.tile_size, len(sheet.tops), len(sheet.lefts)
    ((128, 128), 2, 3)
    """
    if columns < 1 or not row_labels or len(column_labels or "x" * columns) != columns:
        raise ShapeError(
            f"{len(row_labels)} row labels, {columns} columns, "
            f"{len(column_labels or ())} column labels",
            "a label for every row, and for every column or none",
            "pass labels that match the tiles",
        )
    height, width = _tile_size(tile_shape[0], tile_shape[1], tile)
    label_lines = [wrap_line(label, 13, _LABEL_WIDTH, 6) for label in row_labels]
    first_left = _MARGIN + (_LABEL_WIDTH + _MARGIN if any(row_labels) else 0)
    lefts = tuple(first_left + index * (width + _GUTTER) for index in range(columns))
    sheet_width = lefts[-1] + width + _MARGIN
    title_lines = wrap_line(title or "", 15, sheet_width - 2 * _MARGIN, _TITLE_LINES)
    head_lines = [wrap_line(label, 12, width - _GUTTER, 2) for label in column_labels or ()]

    title_bottom = _MARGIN + text_height(title_lines, 15)
    head_height = max((text_height(lines, 12) for lines in head_lines), default=0)
    first_top = title_bottom + head_height + (_GUTTER if head_height else 0)
    # A flat tile leaves its row the room that the label needs.
    rows = [max(height, text_height(lines, 13)) + _GUTTER for lines in label_lines]
    tops = tuple(accumulate(rows[:-1], initial=first_top))
    canvas = Image.new("RGB", (sheet_width, tops[-1] + rows[-1] - _GUTTER + _MARGIN), _PAPER)

    pen = ImageDraw.Draw(canvas)
    write(pen, title_lines, 15, (_MARGIN, _MARGIN), "la")
    for left, lines in zip(lefts, head_lines, strict=False):
        at = (left + width // 2, first_top - _GUTTER - text_height(lines, 12))
        write(pen, lines, 12, at, "ma")
    for top, lines in zip(tops, label_lines, strict=True):
        at = (_MARGIN, top + max(0, height - text_height(lines, 13)) // 2)
        write(pen, lines, 13, at, "la")
    return Sheet(np.array(canvas), (height, width), tops, lefts)


def compose_sheet(
    rows: Sequence[Sequence[Frame]], *, row_labels: Sequence[str], **options: Any
) -> Frame:
    """Return one labeled image (H, W, 3), uint8, of rows of tiles (h, w, 3).

    The options column_labels, title and tile are those of :func:`lay_out_sheet`, which draws the
    labels once for many frames.

    Raises
    ------
    ShapeError : no tiles, or labels that do not match them.
    """
    if not rows or not rows[0] or len(rows) != len(row_labels):
        raise ShapeError(
            f"{len(rows)} rows of tiles and {len(row_labels)} row labels",
            "one label per row, and at least one tile",
            "pass a label for every row",
        )
    columns = max(map(len, rows))
    sheet = lay_out_sheet(rows[0][0].shape, row_labels=row_labels, columns=columns, **options)
    return sheet.draw(rows)


def square_tile(pixels: Frame | None, side: int) -> Frame:
    """Return an image (h, w, 3) fitted into a white square of ``side`` pixels; empty for None."""
    if pixels is None:
        return np.full((side, side, 3), 255, np.uint8)
    image = Image.fromarray(pixels)
    return np.asarray(ImageOps.pad(image, (side, side), color="white"))


def _tile_size(height: int, width: int, tile: int | None) -> tuple[int, int]:
    longest = max(height, width)
    if tile is not None and longest > tile:
        return max(1, round(height * tile / longest)), max(1, round(width * tile / longest))
    if longest >= _SMALL_TILE:
        return height, width
    factor = -(-min(_SMALL_TILE, tile or _SMALL_TILE) // longest)
    return height * factor, width * factor


def _scale(tile: Frame, size: tuple[int, int]) -> Frame:
    if tile.dtype != np.uint8 or tile.ndim != 3 or tile.shape[2] != 3:
        raise ShapeError(
            f"a tile of shape {tile.shape}, {tile.dtype}",
            "uint8 (h, w, 3)",
            "convert with latentlab.images.arrays.to_uint8",
        )
    if tile.shape[:2] == size:
        return tile
    shrink = tile.shape[0] > size[0] or tile.shape[1] > size[1]
    kernel = Image.Resampling.LANCZOS if shrink else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(tile).resize(size[::-1], kernel))
