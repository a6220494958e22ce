"""Every picture of a result: functions take data and ``ax=``, return what they drew, never show."""

from __future__ import annotations

import base64
import html
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentlab.chance.nulls import Null
from latentlab.chance.nulls.isotropic import isotropic_null
from latentlab.metrics.spectrum import components_for, fit_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

    from latentlab.chance.verdict import Judgement
    from latentlab.components.pca import PCA
    from latentlab.latents import Latent
    from latentlab.walks.traversal import Trail, Walk

# Okabe and Ito's colors, distinct for color-blind readers and in grey print.
PALETTE = {
    "data": "#0072B2",
    "isotropic": "#7F7F7F",
    "parallel": "#CC79A7",
    "signflip": "#56B4E9",
    "stationary": "#E69F00",
    "log": "#D55E00",
    "linear": "#009E73",
    "mark": "#000000",
}
# Tol's muted scheme and gray: ten labels that color-blind readers can tell apart.
LABEL_COLORS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)
_DPI = 160
_TILE = 192


def new_figure(width: float = 6.8, height: float = 4.6) -> Figure:
    """Return an empty figure, in inches, that no window shows: for files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    # Without the software's version the same result has the same bytes after an upgrade.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def axes_on_screen(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    axes: Axes = plt.subplots(figsize=(6.8, 4.6), layout="constrained")[1]
    return axes


def set_title(ax: Axes, title: str) -> None:
    """Write a title as it is, whatever a picture's name holds."""
    # A picture's name may hold dollar signs, which are no formula, and bytes that are no text.
    shown = title.encode("utf-8", "replace").decode("utf-8")
    ax.set_title(shown, fontsize=10, parse_math=False)


def draw_cumulative(
    pca: PCA, *, judgement: Judgement | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the cumulative explained variance, what chance gives, and both fits.

    Parameters
    ----------
    pca : PCA
    judgement : Judgement, optional; its nulls are drawn as bands from the 5 % to the 95 % quantile
        about their means, and the 95 % interval of the curve; without it, isotropic noise alone
    ax : Axes, optional; a new figure without

    Returns
    -------
    Axes : x counts components, y is the share of the total variance
    """
    ax = axes_on_screen(ax)
    cumulative = pca.spectrum.cumulative.numpy()
    k = np.arange(1, len(cumulative) + 1)
    for null in _nulls_to_draw(pca, judgement):
        label = f"{null.label} (log fit R² {null.log_fit_r2:.3f})"
        _draw_band(ax, null, null.curve, null.curve_band, label)
    if pca.spectrum.is_complete:
        _draw_fit(ax, pca, logarithmic=True)
        _draw_fit(ax, pca, logarithmic=False)
    marker = "o-" if len(k) <= 64 else "-"
    label = pca.neighborhood
    if judgement and judgement.intervals:
        lower, upper = judgement.intervals.curve_lower, judgement.intervals.curve_upper
        ax.fill_between(k, lower, upper, color=PALETTE["data"], alpha=0.2, lw=0)
        label += ", shaded its 95 % interval"
    ax.plot(k, cumulative, marker, ms=3, lw=2, color=PALETTE["data"], label=label)
    _mark_k90(ax, pca)
    ax.set(
        xlabel="number of components k",
        ylabel="cumulative share of variance",
        xlim=(0, len(k) + 1),
        ylim=(0, 1.04),
    )
    set_title(ax, pca.title)
    ax.grid(alpha=0.25, lw=0.5)
    # Of a partial spectrum the curve may end below, where the legend of a whole one is.
    whole = pca.spectrum.is_complete
    ax.legend(fontsize=8, loc="lower right" if whole else "upper left", framealpha=0.9)
    return ax


def _nulls_to_draw(pca: PCA, judgement: Judgement | None) -> tuple[Null, ...]:
    if judgement is not None:
        return judgement.nulls
    return (isotropic_null(pca.spectrum),) if pca.spectrum.n_samples > 2 else ()


def _draw_band(
    ax: Axes, null: Null, middle: Tensor, band: tuple[Tensor, Tensor], label: str
) -> None:
    k = np.arange(1, len(middle) + 1)
    color = PALETTE.get(null.name, PALETTE["isotropic"])
    if null.draws:
        ax.fill_between(k, *band, color=color, alpha=0.3, lw=0)
    ax.plot(k, middle, "-" if null.draws else "--", lw=1.2, color=color, label=label)


def _draw_fit(ax: Axes, pca: PCA, *, logarithmic: bool) -> None:
    cumulative = pca.spectrum.cumulative
    intercept, slope, r2 = fit_curve(cumulative, logarithmic=logarithmic)
    k = np.arange(1, len(cumulative) + 1)
    x = np.log(k) if logarithmic else k
    kind, formula = ("log", "a + b ln k") if logarithmic else ("linear", "a + b k")
    label = f"{formula} (R² {r2:.3f})"
    ax.plot(k, intercept + slope * x, lw=1, color=PALETTE[kind], label=label)


def _mark_k90(ax: Axes, pca: PCA) -> None:
    k90 = components_for(pca.spectrum.cumulative, 0.9)
    if k90 is None:
        return
    ax.plot([k90, k90, 0], [0, 0.9, 0.9], ":", lw=1, color=PALETTE["mark"])
    middle = k90 < 0.6 * len(pca.spectrum.cumulative)
    ax.annotate(
        f"k90 = {k90}",
        (k90, 0.9),
        xytext=(8, -14) if middle else (-8, 6),
        textcoords="offset points",
        ha="left" if middle else "right",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )


def draw_eigenvalues(
    pca: PCA, *, judgement: Judgement | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the eigenvalues on log–log axes beside those of chance at equal total variance.

    Parameters
    ----------
    judgement : as for :func:`draw_cumulative`; the threshold of its main null is a dotted line
    """
    ax = axes_on_screen(ax)
    spectrum = pca.spectrum
    positive = spectrum.explained_variance > spectrum.explained_variance[0] * 1e-12
    k = torch.arange(1, len(positive) + 1)
    for null in _nulls_to_draw(pca, judgement):
        _draw_band(ax, null, null.spectra.mean(0), null.eigenvalue_band, null.label)
        if judgement and null.name == judgement.main:
            partial = judgement.components_above == len(positive) and not spectrum.is_complete
            count = f"{'≥ ' if partial else ''}{judgement.components_above}"
            label = f"{count} above chance ({null.label})"
            ax.axhline(null.threshold, ls=":", lw=1, color=PALETTE["mark"], label=label)
    ax.loglog(
        k[positive],
        spectrum.explained_variance[positive],
        "o-",
        ms=3,
        lw=1,
        color=PALETTE["data"],
        label=pca.neighborhood,
    )
    ax.set(xlabel="component k", ylabel="eigenvalue (variance, model-space units²)")
    set_title(ax, pca.title)
    ax.grid(alpha=0.25, lw=0.5, which="both")
    ax.legend(fontsize=8, loc="lower left")
    return ax


def latent_rgb(latent: Latent) -> NDArray[np.uint8]:
    """Return the first three principal components of a latent's tokens as colors (h, w, 3).

    Each component runs from its 1st to its 99th percentile; fewer channels leave colors dark, and
    a latent without any differences is gray.
    """
    from latentlab.components.pca import fit_pca
    from latentlab.layouts import TokenLayout, Window

    channels, height, width = latent.values.shape
    layout = TokenLayout((channels, height, width), Window(0, 0, height, width))
    tokens = layout.flatten(latent.values[None])
    if len(tokens) < 2 or not tokens.var(0).any():
        return np.full((height, width, 3), 128, np.uint8)
    pca = fit_pca(tokens)
    components = pca.components[:3]
    scores = ((tokens - pca.mean) @ components.T).double().numpy()
    low, high = np.percentile(scores, [1, 99], axis=0)
    colors = np.zeros((height * width, 3), np.uint8)
    scaled = (scores - low) / np.maximum(high - low, 1e-12)
    colors[:, : len(components)] = np.rint(scaled.clip(0, 1) * 255)
    return colors.reshape(height, width, 3)


def draw_latent(latent: Latent, *, ax: Axes | None = None) -> Axes:
    """Draw a latent's first three principal components as colors."""
    title = f"{latent.spec.name}: PC 1–3 of {latent.values.shape[0]} channels as RGB"
    return _draw_pixels(axes_on_screen(ax), latent_rgb(latent), title)


def draw_latent_rgb(latent: Latent) -> Figure:
    """Draw the picture, where it is known, beside its latent's first three components as colors."""
    from latentlab.images.arrays import to_uint8

    known = latent.picture is not None
    height, width = latent.values.shape[-2:]
    figure = new_figure(3.6 * (1 + known) + 0.2, 3.6 * height / width + 0.35)
    panels = np.ravel(figure.subplots(1, 1 + known))
    if latent.picture is not None:
        _draw_pixels(panels[0], to_uint8(latent.picture.pixels).numpy(), latent.name)
    draw_latent(latent, ax=panels[-1])
    return figure


def draw_walk(walk: Walk, *, ax: Axes | None = None) -> Axes:
    """Draw all pictures of a walk as one labelled grid: components by steps."""
    return _draw_pixels(axes_on_screen(ax), walk_sheet(walk), "")


def _draw_pixels(ax: Axes, pixels: NDArray[np.uint8], title: str) -> Axes:
    ax.imshow(pixels, interpolation="nearest")
    set_title(ax, title)
    ax.set_axis_off()
    return ax


def walk_sheet(walk: Walk) -> NDArray[np.uint8]:
    """Return all pictures of a walk as one labelled grid (H, W, 3): components by steps."""
    from latentlab.figures.sheets import compose_sheet

    return compose_sheet(
        [list(trail.frames.numpy()) for trail in walk.trails],
        row_labels=[trail.caption for trail in walk.trails],
        column_labels=[sigma_label(float(alpha), walk.unit) for alpha in walk.alphas],
        title=walk.title,
        tile=_TILE,
    )


def animate_walk(walk: Walk, path: Path, *, fps: float, loop: bool) -> Path:
    """Write one animation with a labelled row for each component; return its path.

    A row shows the trail's first picture, the moving one, and its last.
    """
    from latentlab.figures.animation import write_animation
    from latentlab.figures.sheets import lay_out_sheet

    sheet = lay_out_sheet(
        tuple(walk.trails[0].frames.shape[1:]),
        row_labels=[trail.caption for trail in walk.trails],
        columns=3,
        column_labels=[
            sigma_label(float(walk.alphas[0]), walk.unit),
            "moving",
            sigma_label(float(walk.alphas[-1]), walk.unit),
        ],
        title=walk.title,
        tile=_TILE,
    )
    pictures = [trail.frames.numpy() for trail in walk.trails]
    frames = [
        sheet.draw([(trail[0], trail[step], trail[-1]) for trail in pictures])
        for step in range(len(walk.alphas))
    ]
    return write_animation(path, frames, fps=fps, loop=loop, ping_pong=loop)


def animate_trail(trail: Trail, path: Path, *, fps: float, loop: bool) -> Path:
    """Write one component's pictures, full size and without labels; return the path."""
    from latentlab.figures.animation import write_animation

    return write_animation(path, list(trail.frames.numpy()), fps=fps, loop=loop, ping_pong=loop)


def walk_html(walk: Walk) -> str:
    """Return the walk as an inline animation for a notebook."""
    with tempfile.TemporaryDirectory() as folder:
        path = animate_walk(walk, Path(folder) / "walk.webp", fps=12, loop=True)
        content = base64.b64encode(path.read_bytes()).decode()
    alternative = f"{walk.title}: {len(walk.trails)} components, {len(walk.alphas)} steps"
    return f'<img src="data:image/webp;base64,{content}" alt="{html.escape(alternative)}">'


def sigma_label(alpha: float, unit: str = "σ") -> str:
    """Return a step as columns are labelled, such as ``"+1.5 σ"``."""
    if not round(alpha, 2):
        return f"0 {unit}"
    digits = f"{alpha:+.2f}".rstrip("0").rstrip(".")
    return f"{digits} {unit}".replace("-", "\N{MINUS SIGN}")
