"""An image, its reconstruction and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import draw_pixels, new_figure, set_title
from latentlab.images.arrays import to_uint8

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from torch import Tensor

_NARROW = 6.0
_SMALLEST_SCALE = 2.0
"""Smallest end of the color scale, in % of the range: below it an error map would show rounding."""


def draw_reconstruction(
    image: Tensor,
    decoded: Tensor,
    errors: ArrayLike,
    *,
    titles: tuple[str, str],
    title: str,
    width: float | None = None,
) -> Figure:
    """Draw an image, its reconstruction and the error of each pixel side by side.

    Parameters
    ----------
    image, decoded : Tensor, (3, H, W) in [−1, 1]
    errors : array (H, W), share of the range from black to white
    titles : of the image and of the reconstruction
    title : str, of the figure
    width : float, optional; of the figure, in inches. Below 6 the panels are stacked.

    Returns
    -------
    Figure : the scale of the errors ends at their 99.5th percentile, or at 2 % of the range
    """
    from latentlab.figures.fitting import fit_main_title, fit_titles

    percent = 100 * np.asarray(errors)
    aspect, width = percent.shape[0] / percent.shape[1], width or 10.2
    stacked = width < _NARROW
    across = width if stacked else 0.3 * width
    figure = new_figure(width, max(1.8, (3 if stacked else 1) * (across * aspect + 0.35) + 0.5))
    axes = np.ravel(figure.subplots(*((3, 1) if stacked else (1, 3))))
    for ax, pixels, name in zip(axes, (image, decoded), titles, strict=False):
        draw_pixels(ax, to_uint8(pixels).numpy(), name)
    largest = max(float(np.quantile(percent, 0.995)), _SMALLEST_SCALE)
    shown = axes[2].imshow(percent, cmap="inferno", vmin=0, vmax=largest, interpolation="nearest")
    set_title(axes[2], "error")
    axes[2].set_axis_off()
    # Inside the panel's own box, the bar is as tall as the image whatever its aspect.
    beside = axes[2].inset_axes((1.03, 0, 0.05, 1))
    bar = figure.colorbar(shown, cax=beside, extend="max", extendfrac=0.03, extendrect=True)
    bar.set_label("% of the range", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=10)
    fit_main_title(figure)
    fit_titles(figure)
    return figure
