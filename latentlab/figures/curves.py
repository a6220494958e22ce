"""Cumulative variance and eigenvalues as curves over the bands of null models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentlab.figures.canvas import PALETTE, axes_on_screen, set_title
from latentlab.metrics.spectrum import components_for, fit_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Band:
    """A curve over k = 1 … n with the range around it.

    Parameters
    ----------
    label : str, for the legend
    color : str
    middle : array (n,)
    lower, upper : array (n,), or None where the curve has no range; it is dashed then
    """

    label: str
    color: str
    middle: ArrayLike
    lower: ArrayLike | None = None
    upper: ArrayLike | None = None


def draw_cumulative(
    cumulative: ArrayLike,
    *,
    label: str,
    bands: Sequence[Band] = (),
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    complete: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a cumulative explained variance over bands, with its linear and log fits.

    Parameters
    ----------
    cumulative : array (n,), share of the total variance in the first k components
    label : str, what the curve is of
    bands : null models, drawn below the curve
    interval : lower and upper end (n,) of the curve's own interval, optional
    complete : bool, whether all components are known; without them nothing is fitted
    title : str
    ax : Axes, optional; by default those of a new figure

    Returns
    -------
    Axes : x counts components, y is the share of the total variance
    """
    ax = axes_on_screen(ax)
    shares = np.asarray(cumulative)
    k = np.arange(1, len(shares) + 1)
    for band in bands:
        _draw_band(ax, band)
    if complete:
        _draw_fits(ax, shares)
    if interval is not None:
        lower, upper = map(np.asarray, interval)
        ax.fill_between(k, lower, upper, color=PALETTE["data"], alpha=0.2, lw=0)
        label += " (shaded: 95 % interval)"
    marker = "o-" if len(k) <= 64 else "-"
    ax.plot(k, shares, marker, ms=3, lw=2, color=PALETTE["data"], label=label)
    _mark_k90(ax, shares)
    ax.set(
        xlabel="number of components k",
        ylabel="cumulative share of variance",
        xlim=(0, len(k) + 1),
        ylim=(0, 1.04),
    )
    set_title(ax, title)
    ax.grid(alpha=0.25, lw=0.5)
    # The curve of a partial spectrum may end below, where the legend of a complete one is.
    ax.legend(fontsize=8, loc="lower right" if complete else "upper left", framealpha=0.9)
    return ax


def draw_eigenvalues(
    eigenvalues: ArrayLike,
    *,
    label: str,
    bands: Sequence[Band] = (),
    threshold: tuple[float, str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw eigenvalues on log–log axes over the bands of null models; return the axes.

    Parameters
    ----------
    eigenvalues : array (n,), descending; values below 1e-12 of the first are left out
    label, bands, title, ax : as for :func:`draw_cumulative`
    threshold : what an eigenvalue must exceed, and what to call that line; optional
    """
    ax = axes_on_screen(ax)
    values = np.asarray(eigenvalues)
    positive = values > values[0] * 1e-12
    k = np.arange(1, len(values) + 1)
    for band in bands:
        _draw_band(ax, band)
    if threshold is not None:
        ax.axhline(threshold[0], ls=":", lw=1, color=PALETTE["mark"], label=threshold[1])
    ax.loglog(k[positive], values[positive], "o-", ms=3, lw=1, color=PALETTE["data"], label=label)
    ax.set(xlabel="component k", ylabel="eigenvalue (variance, model-space units²)")
    set_title(ax, title)
    ax.grid(alpha=0.25, lw=0.5, which="both")
    ax.legend(fontsize=8, loc="lower left")
    return ax


def _draw_band(ax: Axes, band: Band) -> None:
    middle = np.asarray(band.middle)
    k = np.arange(1, len(middle) + 1)
    ranged = band.lower is not None and band.upper is not None
    if ranged:
        lower, upper = np.asarray(band.lower), np.asarray(band.upper)
        ax.fill_between(k, lower, upper, color=band.color, alpha=0.3, lw=0)
    ax.plot(k, middle, "-" if ranged else "--", lw=1.2, color=band.color, label=band.label)


def _draw_fits(ax: Axes, cumulative: NDArray[np.float64]) -> None:
    k = np.arange(1, len(cumulative) + 1)
    for kind, formula, x in (("log", "a + b ln k", np.log(k)), ("linear", "a + b k", k)):
        intercept, slope, r2 = fit_curve(cumulative, logarithmic=kind == "log")
        label = f"{formula} (R² {r2:.3f})"
        ax.plot(k, intercept + slope * x, lw=1, color=PALETTE[kind], label=label)


def _mark_k90(ax: Axes, cumulative: NDArray[np.float64]) -> None:
    k90 = components_for(cumulative, 0.9)
    if k90 is None:
        return
    ax.plot([k90, k90, 0], [0, 0.9, 0.9], ":", lw=1, color=PALETTE["mark"])
    middle = k90 < 0.6 * len(cumulative)
    ax.annotate(
        f"k90 = {k90}",
        (k90, 0.9),
        xytext=(8, -14) if middle else (-8, 6),
        textcoords="offset points",
        ha="left" if middle else "right",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )
