"""Where findings are: image, reconstruction and a closer look, a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.figures.canvas import PALETTE, draw_pixels, new_figure, set_title
from latentlab.images.arrays import to_uint8

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

_GAIN = 8
"""How much differences are amplified: one level in 255 is not seen otherwise."""
_CONTEXT = 2
_SMALLEST = 48
"""Least side of the closer look, in pixels."""


@dataclass(frozen=True, eq=False)
class Row:
    """One finding.

    Parameters
    ----------
    title : str, what was found, above the image
    image, decoded : Tensor, (3, H, W) in [−1, 1]
    norms : Tensor, (h, w), of the latent's cells, shown instead of the difference; None for that
    box : (x, y, width, height) in pixels, marked
    """

    title: str
    image: Tensor
    decoded: Tensor
    norms: Tensor | None
    box: tuple[int, int, int, int]


def draw_diagnosis(rows: Sequence[Row], *, title: str, width: float | None = None) -> Figure:
    """Draw image and reconstruction with the place marked, and what is wrong there, larger.

    The closer look is the amplified difference around the place, or the norm of each latent cell.

    Parameters
    ----------
    rows : Row of each finding
    title : str, of the figure
    width : float, optional; of the figure, in inches
    """
    from latentlab.figures.fitting import fit_main_title, fit_titles

    width = width or 8.4
    figure = new_figure(width, 0.4 + len(rows) * (0.3 * width + 0.55))
    axes = figure.subplots(len(rows), 3, squeeze=False)
    for (first, second, third), row in zip(axes, rows, strict=True):
        draw_pixels(first, to_uint8(row.image).numpy(), row.title)
        draw_pixels(second, to_uint8(row.decoded).numpy(), "reconstruction")
        for ax in (first, second):
            _mark(ax, row.box)
        if row.norms is None:
            _draw_difference(third, row)
        else:
            _draw_norms(third, row)
    figure.suptitle(title, fontsize=10)
    fit_main_title(figure)
    fit_titles(figure)
    return figure


def _draw_difference(ax: Any, row: Row) -> None:
    left, top, right, bottom = _around(row)
    difference = (row.decoded - row.image)[:, top:bottom, left:right]
    draw_pixels(ax, to_uint8(_GAIN * difference).numpy(), f"difference × {_GAIN}, closer")


def _draw_norms(ax: Any, row: Row) -> None:
    assert row.norms is not None
    ax.imshow(row.norms.numpy(), cmap="inferno", interpolation="nearest")
    set_title(ax, "norm of the latent's cells")
    ax.set_axis_off()
    scale = row.norms.shape[1] / row.image.shape[2]
    x, y, across, down = row.box
    _mark(ax, (x * scale - 0.5, y * scale - 0.5, across * scale, down * scale))


def _around(row: Row) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what surrounds the box."""
    x, y, across, down = row.box
    height, width = row.image.shape[1:]
    narrow = min(across, down)
    reach = (max(_SMALLEST, _CONTEXT * narrow) - narrow) // 2
    low_x, low_y = max(0, x - reach), max(0, y - reach)
    return low_x, low_y, min(width, x + across + reach), min(height, y + down + reach)


def _mark(ax: Any, box: tuple[float, float, float, float]) -> None:
    from matplotlib.patches import Rectangle

    x, y, across, down = box
    for color, line in (("white", 2.4), (PALETTE["log"], 1.2)):
        patch = Rectangle((x, y), across, down, fill=False, edgecolor=color, linewidth=line)
        patch.set_clip_on(False)
        ax.add_patch(np.ravel([patch])[0])
