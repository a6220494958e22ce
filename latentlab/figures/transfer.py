"""The figure and the sheet of directions that are transferred to other images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import PALETTE, new_figure, set_title
from latentlab.figures.sheets import MOST_COLUMNS, compose_sheet
from latentlab.figures.walks import sigma_label
from latentlab.figures.words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

_MARKERS = "osD^vP*X<>"
_TILE = 144
_NARROW = 6.0
_LONGEST_NAME = 24


def draw_transfer(
    labels: Sequence[str],
    targets: Sequence[str],
    panels: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    origin: str,
    title: str,
    width: float | None = None,
) -> Figure:
    """Draw every direction's cosines over the range of random directions, one panel a measure.

    Parameters
    ----------
    labels : k names of the directions
    targets : t names of the images that they were transferred to
    panels : title → cosines (t, k) and those of random directions (t, r)
    origin : name of the image that the directions were found at
    title : str
    width : float, optional; of the figure, in inches. In narrow figures the panels are stacked.
    """
    from latentlab.figures.fitting import dress_all, fit_figure, settle

    names = [shorten(label, len, _LONGEST_NAME) for label in labels]
    width = width or max(8.4, 2.4 + 0.9 * len(labels))
    stacked = width < _NARROW
    figure = new_figure(width, 3.2 * len(panels) if stacked else 4.2)
    grid = (len(panels), 1) if stacked else (1, len(panels))
    axes = np.ravel(figure.subplots(*grid, sharex=stacked, sharey=True))
    for ax, (panel, (cosines, chance)) in zip(axes, panels.items(), strict=True):
        _draw_cosines(ax, targets, np.asarray(cosines), np.asarray(chance))
        ax.set_xticks(range(len(labels)), names, fontsize=8)
        set_title(ax, panel)
    for ax in axes if stacked else axes[:1]:
        ax.set_ylabel(f"cosine with {origin}")
    figure.suptitle(title, fontsize=10)
    dress_all(figure)
    settle(figure)
    for ax in axes:
        _turn_names_that_meet(ax)
    fit_figure(figure, axes[0])
    return figure


def _turn_names_that_meet(ax: Axes) -> None:
    """Turn the names below an axis where they are too long or too many to stand side by side."""
    names = ax.get_xticklabels()
    boxes = [name.get_window_extent() for name in names]
    room = ax.bbox.width / max(1, len(names))
    if all(box.width < 0.9 * room for box in boxes):
        return
    # At 30° the lines of text are half as far apart as the ticks.
    crowded = any(box.height > 0.45 * room for box in boxes)
    for name in names:
        name.set(rotation=90 if crowded else 30, rotation_mode="anchor", ha="right")
        name.set_verticalalignment("center" if crowded else "top")


def _draw_cosines(
    ax: Axes, targets: Sequence[str], cosines: NDArray[np.float64], chance: NDArray[np.float64]
) -> None:
    """Draw a point for each direction and target over the band of 95 % of random directions."""
    gray = PALETTE["chance"]
    low, high = np.quantile(chance, [0.025, 0.975])
    ax.axhspan(low, high, color=gray, alpha=0.3, lw=0, label="95 % of random directions")
    ax.axhline(float(chance.mean()), color=gray, lw=1, ls="--", label="their mean")
    colors = [PALETTE["data"], PALETTE["log"], PALETTE["linear"], PALETTE["mark"]]
    for name, row, marker, color in zip(targets, cosines, cycle(_MARKERS), cycle(colors)):
        ax.plot(range(len(row)), row, marker, color=color, ms=5, label=name)
    ax.set(ylim=(-1.05, 1.05), xlim=(-0.5, cosines.shape[1] - 0.5))
    ax.grid(alpha=0.25, lw=0.5)


def transfer_sheet(
    frames: ArrayLike,
    *,
    row_labels: Sequence[str],
    names: Sequence[str],
    step: tuple[float, str],
    title: str,
) -> NDArray[np.uint8]:
    """Return images at both ends of each direction as one grid (H, W, 3), of eight images at most.

    Parameters
    ----------
    frames : array (n, k, 2, H, W, 3), uint8; n images at −step and +step along k directions
    row_labels : of the directions
    names : of the images
    step : length and unit
    title : str
    """
    shown = MOST_COLUMNS // 2
    if len(names) > shown:
        title = f"{title}\nthe first {shown} of {len(names)} images".strip()
    by_direction = np.asarray(frames)[:shown].swapaxes(0, 1)
    ends = [sigma_label(sign * step[0], step[1]) for sign in (-1, 1)]
    return compose_sheet(
        [[*row.reshape(-1, *row.shape[2:])] for row in by_direction],
        row_labels=row_labels,
        column_labels=[f"{name}\n{end}" for name in names[:shown] for end in ends],
        title=title,
        tile=_TILE,
    )
