"""The same numbers of several images beside those of their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import PALETTE, new_figure, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

Ends = tuple[float, float | None, float | None]
"""A mean and the ends of its interval, which are None for a single image."""


def draw_paired(
    who: Sequence[str],
    panels: Mapping[str, tuple[ArrayLike, Sequence[Ends]]],
    *,
    percent: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw every image as a line over the model and its controls, with means and intervals.

    Parameters
    ----------
    who : m names, of the model and its controls
    panels : title → numbers (images, m), and a mean with its interval for each of ``who``
    percent : titles of the panels whose numbers are shares
    title : str
    """
    from latentlab.figures.fitting import fit_main_title, fit_titles

    figure = new_figure(3.3 * len(panels), 4.2)
    axes = np.ravel(figure.subplots(1, len(panels), squeeze=False))
    for ax, (name, (values, means)) in zip(axes, panels.items(), strict=True):
        scale = 100 if name in percent else 1
        _draw_panel(ax, scale * np.asarray(values, np.float64), means, scale)
        ax.set_xticks(range(len(who)), who, fontsize=9)
        ax.set_xlim(-0.5, len(who) - 0.5)
        set_title(ax, f"{name} (%)" if name in percent else name)
    figure.suptitle(title, parse_math=False, fontsize=10)
    fit_main_title(figure)
    fit_titles(figure)
    return figure


def _draw_panel(ax: Axes, values: NDArray[np.float64], means: Sequence[Ends], scale: float) -> None:
    for row in values:
        ax.plot(row, "o-", color=PALETTE["chance"], alpha=0.5, markersize=3, linewidth=0.8)
    for place, (mean, lower, upper) in enumerate(means):
        if lower is not None and upper is not None:
            ends = [scale * lower, scale * upper]
            ax.plot([place, place], ends, color=PALETTE["data"], linewidth=5, alpha=0.35)
        ax.plot(place, scale * mean, "D", color=PALETTE["data"], markersize=6)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.grid(axis="y", alpha=0.3)
