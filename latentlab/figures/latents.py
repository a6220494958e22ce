"""Latents as colors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import axes_on_screen, draw_pixels, new_figure
from latentlab.images.arrays import to_uint8

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor


def latent_rgb(values: ArrayLike) -> NDArray[np.uint8]:
    """Return the first three principal components of a latent's cells as colors (h, w, 3).

    Each component runs from its 1st to its 99th percentile. Fewer channels leave colors dark, and
    a latent without any differences is gray.

    Parameters
    ----------
    values : array (C, h, w)
    """
    latent = np.asarray(values, np.float64)
    channels, height, width = latent.shape
    cells = latent.reshape(channels, -1).T
    centered = cells - cells.mean(0)
    if len(cells) < 2 or not np.ptp(cells, axis=0).any():
        return np.full((height, width, 3), 128, np.uint8)
    _, vectors = np.linalg.eigh(centered.T @ centered)
    components = vectors[:, ::-1][:, :3].T
    # The largest entry of each component is positive, as for every PCA here.
    largest = components[range(len(components)), np.abs(components).argmax(1)]
    components = components * np.sign(largest)[:, None]
    scores = centered @ components.T
    low, high = np.percentile(scores, [1, 99], axis=0)
    colors = np.zeros((height * width, 3), np.uint8)
    scaled = (scores - low) / np.maximum(high - low, 1e-12)
    colors[:, : len(components)] = np.rint(scaled.clip(0, 1) * 255)
    return colors.reshape(height, width, 3)


def draw_latent(values: ArrayLike, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw a latent (C, h, w), its first three components as colors; return the axes."""
    from latentlab.figures.fitting import fit

    ax = draw_pixels(axes_on_screen(ax), latent_rgb(values), title)
    fit(ax)
    return ax


def draw_latent_beside(
    values: ArrayLike,
    pixels: Tensor | None = None,
    *,
    titles: tuple[str, str] = ("", ""),
    width: float | None = None,
) -> Figure:
    """Draw an image, where there is one, beside its latent as colors; return the figure.

    Parameters
    ----------
    values : array (C, h, w)
    pixels : Tensor, (3, H, W) in [−1, 1], optional
    titles : of the image and of the latent
    width : float, optional; of the figure, in inches
    """
    from latentlab.figures.fitting import fit_titles

    latent = np.asarray(values)
    known = pixels is not None
    height, side = latent.shape[-2:]
    width = width or 3.6 * (1 + known) + 0.2
    panel = (width - 0.2) / (1 + known)
    figure = new_figure(width, panel * height / side + 0.35)
    panels = np.ravel(figure.subplots(1, 1 + known))
    if pixels is not None:
        draw_pixels(panels[0], to_uint8(pixels).numpy(), titles[0])
    draw_pixels(panels[-1], latent_rgb(latent), titles[1])
    fit_titles(figure)
    return figure
