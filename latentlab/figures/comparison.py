"""Several models beside each other: reconstructions with their errors, and curves in panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import CURVE_COLORS, new_figure, set_title
from latentlab.figures.sheets import compose_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Curve = tuple[Sequence[float], Sequence[float]]

_SCALE = 0.25
"""Error, as a share of the range, at which an error map ends."""


def compose_reconstructions(
    images: Sequence[Pixels],
    others: Mapping[str, Sequence[Pixels]],
    *,
    labels: Sequence[str],
    title: str,
    tile: int = 192,
) -> Pixels:
    """Return a sheet (H, W, 3): an image a row, each model's reconstruction and its error map.

    Parameters
    ----------
    images : (h, w, 3), uint8, of one shape
    others : model → its reconstructions, in the order of the images
    labels : of the rows
    title : str
    tile : int, longest side of a tile in pixels
    """
    rows = []
    for number, image in enumerate(images):
        row = [image]
        for found in others.values():
            row += [found[number], error_map(image, found[number])]
        rows.append(row)
    headings = ["image", *(text for name in others for text in (name, f"error of {name}"))]
    sheet: Pixels = compose_sheet(
        rows, row_labels=list(labels), column_labels=headings, title=title, tile=tile
    )
    return sheet


def error_map(image: Pixels, other: Pixels) -> Pixels:
    """Return the mean absolute error of each pixel (h, w, 3) as colors, black 0, yellow ¼ of white.

    Examples
    --------
    >>> error_map(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)).tolist()
    [[[0, 0, 3]]]
    """
    from matplotlib import colormaps

    error = np.abs(image.astype(np.float64) - other).mean(-1) / 255
    return np.asarray(colormaps["inferno"](np.minimum(error / _SCALE, 1.0), bytes=True))[..., :3]


_BESIDE = 4
"""Panels that stand beside each other; of more there are two rows."""


def draw_panels(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    axes: Mapping[str, tuple[str, str]],
    logarithmic: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw curves of several models over each other, a panel for each kind of curve.

    Parameters
    ----------
    panels : title of a panel → model → x and y
    axes : title of a panel → labels of its axes
    logarithmic : titles of panels whose axes are both logarithmic
    title : str, of the figure
    """
    from latentlab.figures.fitting import fit_main_title, fit_titles
    from latentlab.figures.log_axes import label_plainly

    rows = 1 if len(panels) <= _BESIDE else 2
    columns = -(-len(panels) // rows)
    figure = new_figure(4.2 * columns, 3.8 * rows)
    places = np.ravel(figure.subplots(rows, columns))
    for empty in places[len(panels) :]:
        empty.set_axis_off()
    names = [*dict.fromkeys(name for curves in panels.values() for name in curves)]
    colors = dict(zip(names, CURVE_COLORS * len(names), strict=False))
    for ax, (heading, curves) in zip(places, panels.items(), strict=False):
        for name, (x, y) in curves.items():
            ax.plot(x, y, marker=".", color=colors[name], label=name)
        if heading in logarithmic:
            ax.set_xscale("log")
            ax.set_yscale("log")
            label_plainly(ax.xaxis)
            label_plainly(ax.yaxis)
        elif all(float(value).is_integer() for x, _ in curves.values() for value in x):
            ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel(axes[heading][0])
        ax.set_ylabel(axes[heading][1])
        set_title(ax, heading)
        ax.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    fit_main_title(figure)
    fit_titles(figure)
    return figure
