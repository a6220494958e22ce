"""Cumulative variance and eigenvalues as curves over the bands of null models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.figures.canvas import CURVE_COLORS, PALETTE, axes_on_screen, set_title
from latentlab.metrics.spectrum import components_for, fit_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

_ROUNDS: tuple[Any, ...] = ("-", "-.", (0, (5, 1)))
_NULL_STYLES: tuple[Any, ...] = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))


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


@dataclass(frozen=True, eq=False)
class _Series:
    """One curve with all that belongs to it; the arguments of the functions below."""

    values: NDArray[np.float64]
    label: str
    title: str
    bands: Sequence[Band] = ()
    interval: tuple[ArrayLike, ArrayLike] | None = None
    complete: bool = True
    threshold: tuple[float, str] | None = None

    @property
    def k(self) -> NDArray[np.int64]:
        return np.arange(1, len(self.values) + 1)


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

    Several on one axis get colors of their own, one legend and the title that they share. Fits
    and the lines at k90 are left out then: the legend says k90, and each null is dashed in the
    color of its curve.

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
    from latentlab.figures.overlays import join

    ax = axes_on_screen(ax)
    shares = np.asarray(cumulative)
    join(ax, "cumulative", _Series(shares, label, title, bands, interval, complete), _cumulative)
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

    Several on one axis are told apart as by :func:`draw_cumulative`.

    Parameters
    ----------
    eigenvalues : array (n,), descending; values below 1e-12 of the first are left out
    label, bands, title, ax : as for :func:`draw_cumulative`
    threshold : what an eigenvalue must exceed, and what to call that line; optional
    """
    from latentlab.figures.overlays import join

    ax = axes_on_screen(ax)
    values = np.asarray(eigenvalues)
    series = _Series(values, label, title, bands, threshold=threshold)
    join(ax, "eigenvalues", series, _eigenvalues)
    return ax


def _cumulative(ax: Axes, series: Sequence[_Series]) -> None:
    from latentlab.figures.fitting import fit

    if len(series) == 1:
        _one_cumulative(ax, series[0])
    else:
        _several(ax, series, _k90_of)
    longest = max(len(one.values) for one in series)
    ax.set(
        xlabel="number of components k",
        ylabel="cumulative share of variance",
        xlim=(0, longest + 1),
        ylim=(0, 1.04),
    )
    ax.grid(alpha=0.25, lw=0.5)
    fit(ax)


def _eigenvalues(ax: Axes, series: Sequence[_Series]) -> None:
    from latentlab.figures.fitting import fit
    from latentlab.figures.log_axes import label_plainly

    ax.loglog()
    if len(series) == 1:
        _one_set_of_eigenvalues(ax, series[0])
    else:
        _several(ax, series, _threshold_of)
    ax.set(xlabel="component k", ylabel="eigenvalue (variance, model-space units²)")
    label_plainly(ax.xaxis, whole=True)
    label_plainly(ax.yaxis)
    ax.grid(alpha=0.25, lw=0.5, which="both")
    fit(ax, first=["lower left"])


def _one_cumulative(ax: Axes, one: _Series) -> None:
    """Draw a curve with its interval, fits and k90 over its nulls."""
    label = one.label
    for band in one.bands:
        _draw_band(ax, band)
    if one.complete:
        _draw_fits(ax, one.values)
    if one.interval is not None:
        _shade(ax, one, PALETTE["data"])
        label += " (shaded: 95 % interval for another N rows)"
    marker = "o-" if len(one.k) <= 64 else "-"
    ax.plot(one.k, one.values, marker, ms=3, lw=2, color=PALETTE["data"], label=label)
    _mark_k90(ax, one.values)
    set_title(ax, one.title)


def _one_set_of_eigenvalues(ax: Axes, one: _Series) -> None:
    for band in one.bands:
        _draw_band(ax, band)
    if one.threshold is not None:
        value, label = one.threshold
        ax.axhline(value, ls=":", lw=1, color=PALETTE["mark"], label=label)
    shown = one.values > one.values[0] * 1e-12
    ax.plot(
        one.k[shown], one.values[shown], "o-", ms=3, lw=1, color=PALETTE["data"], label=one.label
    )
    set_title(ax, one.title)


def _several(ax: Axes, series: Sequence[_Series], remark: Callable[[_Series], str | None]) -> None:
    """Draw curves in colors of their own; the legend has a remark on each."""
    from latentlab.figures.overlays import tell_apart

    title, labels = tell_apart([one.title for one in series], [one.label for one in series])
    rounds = [(color, style) for style in _ROUNDS for color in CURVE_COLORS]
    styles = list(zip(series, labels, cycle(rounds), strict=False))
    _draw_nulls(ax, [(one, color) for one, _, (color, _) in styles])
    for one, label, (color, style) in styles:
        shown = one.values > one.values[0] * 1e-12
        label = ", ".join(filter(None, (label, remark(one))))
        if one.interval is not None:
            _shade(ax, one, color)
        if one.threshold is not None:
            ax.axhline(one.threshold[0], ls=":", lw=1, color=color)
        marker = "o" if len(one.k) <= 64 else ""
        drawn = ax.plot(one.k[shown], one.values[shown], ls=style, lw=1.6, color=color)[0]
        drawn.set(marker=marker, markersize=3, label=label)
    set_title(ax, title)


def _draw_nulls(ax: Axes, series: Sequence[tuple[_Series, str]]) -> None:
    """Draw the middle of each null in the color of its curve, or once in gray if all agree."""
    found: dict[str, list[tuple[NDArray[np.float64], str]]] = {}
    for one, color in series:
        for band in one.bands:
            name = band.label.partition(" (")[0]
            found.setdefault(name, []).append((np.asarray(band.middle), color))
    for (name, nulls), style in zip(found.items(), cycle(_NULL_STYLES), strict=False):
        first = nulls[0][0]
        agree = all(len(one) == len(first) and np.allclose(one, first) for one, _ in nulls)
        if not agree:
            for middle, color in nulls:
                ax.plot(np.arange(1, len(middle) + 1), middle, ls=style, lw=1, color=color)
        label = name if agree else f"{name}, in the color of each curve"
        middle = first if agree else np.array([])
        k = np.arange(1, len(middle) + 1)
        ax.plot(k, middle, ls=style, lw=1, color=PALETTE["chance"], label=label)


def _k90_of(one: _Series) -> str | None:
    k90 = components_for(one.values, 0.9)
    return None if k90 is None else f"k90 = {k90}"


def _threshold_of(one: _Series) -> str | None:
    return None if one.threshold is None else one.threshold[1].partition(" (")[0]


def _shade(ax: Axes, one: _Series, color: str) -> None:
    """Shade the interval of a curve."""
    assert one.interval is not None
    lower, upper = map(np.asarray, one.interval)
    ax.fill_between(one.k, lower, upper, color=color, alpha=0.2, lw=0)


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
