"""Samples along two components, some of them shown as images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import PALETTE, axes_on_screen, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

_THUMBNAIL = 34.0
"""Longest side of a thumbnail, in points."""


def draw_scatter(
    scores: ArrayLike,
    thumbnails: Mapping[int, NDArray[np.uint8]] | None = None,
    *,
    labels: tuple[str, str] = ("PC 1", "PC 2"),
    colors: ArrayLike | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw samples at their scores along two components; return the axes.

    Parameters
    ----------
    scores : array (n, 2), model-space units
    thumbnails : row → image (H, W, 3), uint8, drawn in place of its point
    labels : of both axes
    colors : array (n, 3), RGB from 0 to 1, of each point; by default all are alike
    title : str
    ax : Axes, optional; by default those of a new figure
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    from latentlab.figures.fitting import fit

    ax = axes_on_screen(ax)
    points = np.asarray(scores, np.float64)
    if colors is None:
        ax.scatter(points[:, 0], points[:, 1], s=10, color=PALETTE["data"], alpha=0.6, lw=0)
    else:
        filled = np.clip(np.asarray(colors, np.float64), 0, 1)
        edges = PALETTE["chance"]
        ax.scatter(points[:, 0], points[:, 1], s=36, c=filled, edgecolors=edges, linewidths=0.4)
    for row, pixels in (thumbnails or {}).items():
        zoom = _THUMBNAIL / max(pixels.shape[:2])
        image = OffsetImage(pixels, zoom=zoom, interpolation="antialiased")
        frame = {"edgecolor": PALETTE["chance"], "lw": 0.6}
        ax.add_artist(AnnotationBbox(image, tuple(points[row]), pad=0.1, bboxprops=frame))
    ax.set(xlabel=f"{labels[0]} (model-space units)", ylabel=labels[1])
    ax.margins(0.12)
    ax.grid(alpha=0.25, lw=0.5)
    set_title(ax, title)
    fit(ax)
    return ax
