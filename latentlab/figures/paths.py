"""Paths between two images: how evenly the image changes, and the sheet of all frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import PALETTE, axes_on_screen, set_title
from latentlab.figures.sheets import compose_sheet, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

_COLORS = (PALETTE["data"], PALETTE["chance"], PALETTE["log"], PALETTE["linear"])
_COLUMNS = 6
_ROWS = 8
_TILE = 192


def draw_changes(
    changes: Mapping[str, ArrayLike], *, straight: float, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw how much the image changes from frame to frame on each path; return the axes.

    Parameters
    ----------
    changes : legend → change (steps − 1,) from each frame to the next, in units of [−1, 1]
    straight : float, change from the first frame to the last
    title : str
    ax : Axes, optional; by default those of a new figure
    """
    from matplotlib.ticker import MaxNLocator

    from latentlab.figures.fitting import fit

    ax = axes_on_screen(ax)
    curves = {label: np.asarray(values) for label, values in changes.items()}
    for color, (label, values) in zip(cycle(_COLORS), curves.items(), strict=False):
        k = np.arange(1, len(values) + 1)
        ax.plot(k, values, "o-", ms=3.5, lw=1.5, color=color, label=label)
    even = straight / max(map(len, curves.values()))
    ax.axhline(even, ls=":", lw=1, color=PALETTE["mark"], label="straight cross-fade of pixels")
    top = max(float(values.max()) for values in curves.values())
    ax.set(
        xlabel="frame",
        ylabel="RMS change per frame\n(pixel values in [−1, 1])",
        ylim=(0, 1.15 * max(top, even, 1e-9)),
    )
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    set_title(ax, title)
    ax.grid(alpha=0.25, lw=0.5)
    fit(ax, first=["upper center"])
    return ax


def frames_sheet(
    frames: Sequence[NDArray[np.uint8]], positions: Sequence[float], *, title: str
) -> NDArray[np.uint8]:
    """Return a labeled grid (H, W, 3) of frames (H, W, 3) in reading order, at most 48 of them.

    Of more frames both ends and evenly spaced ones are shown, and the title says how many.

    Parameters
    ----------
    frames : arrays (H, W, 3), uint8
    positions : where on the path each lies, 0 to 1
    title : str
    """
    shown = thin(len(frames), _COLUMNS * _ROWS)
    rows = [shown[start : start + _COLUMNS] for start in range(0, len(shown), _COLUMNS)]
    if len(shown) < len(frames):
        title = f"{title}\n{len(shown)} of {len(frames)} frames".strip()
    return compose_sheet(
        [[frames[index] for index in row] for row in rows],
        row_labels=[
            f"frames {row[0]}–{row[-1]}\nt = {positions[row[0]]:.2f}–{positions[row[-1]]:.2f}"
            for row in rows
        ],
        title=title,
        tile=_TILE,
    )
