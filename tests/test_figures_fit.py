"""Every figure at two sizes: no text is cut, no two texts meet, and no legend covers a line."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

import latentlab
from latentlab.digits.beta_figure import draw_sweep
from latentlab.digits.figures import draw_codes, draw_losses
from latentlab.digits.measure import Codes
from latentlab.figures.canvas import draw_pixels, new_figure
from latentlab.figures.comparison import draw_panels
from latentlab.figures.curves import Band, draw_cumulative, draw_eigenvalues
from latentlab.figures.diagnosis import Row, draw_diagnosis
from latentlab.figures.latents import draw_latent, draw_latent_beside
from latentlab.figures.paired import draw_paired
from latentlab.figures.paths import draw_changes
from latentlab.figures.reconstruction import draw_reconstruction
from latentlab.figures.scatter import draw_scatter
from latentlab.figures.transfer import draw_transfer

DEFAULT, COLUMN = (6.8, 4.6), (3.3, 2.9)
LONG = "IMG_20240817_183045_final_version_edited_for_print_2_copy"
TITLE = "{} · mini · 512×384 px\nPCA of the augment neighborhood, rotation 20 (N = 64, D = 4,096)"

Size = tuple[float, float]


def on_axes(draw: Callable[[Axes], Any]) -> Callable[[Size], Figure]:
    """Return what draws on the only axis of a figure of a size."""

    def drawn(size: Size) -> Figure:
        figure = new_figure(*size)
        draw(figure.add_subplot())
        return figure

    return drawn


def eigenvalues(kind: str, count: int = 63) -> np.ndarray:
    """Return made-up eigenvalues: a power law, nearly equal ones, or one above a floor."""
    k = np.arange(1, count + 1)
    return {"power": 100 / k**1.4, "flat": 2 - 0.9 * k / count, "spike": 1 + 80 * (k == 1)}[kind]


def bands(values: np.ndarray) -> list[Band]:
    """Return two nulls of a spectrum, one with a range."""
    k = np.arange(1, len(values) + 1)
    even = values.mean() * (1.2 - 0.4 * k / len(k))
    return [
        Band("isotropic noise (log fit R² 0.850)", "#7F7F7F", even),
        Band("columns permuted (log fit R² 0.877)", "#CC79A7", even * 1.1, even, even * 1.2),
    ]


def shares(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values) / values.sum()


def cumulative(
    ax: Axes, *kinds: str, name: str = "flower", complete: bool = True, count: int = 63
) -> None:
    for index, kind in enumerate(kinds):
        values = eigenvalues(kind, count)
        curve = shares(values) * (1 if complete else 0.4)
        draw_cumulative(
            curve,
            label="augment",
            bands=[
                Band(band.label, band.color, shares(np.asarray(band.middle)))
                for band in bands(values)
            ],
            interval=(0.97 * curve, 1.02 * curve),
            complete=complete,
            title=TITLE.format(f"{name} {index}" if len(kinds) > 1 else name),
            ax=ax,
        )


def spectra(ax: Axes, *kinds: str, name: str = "flower", count: int = 63) -> None:
    for index, kind in enumerate(kinds):
        values = eigenvalues(kind, count)
        draw_eigenvalues(
            values,
            label="augment",
            bands=bands(values),
            threshold=(1.3 * values.mean(), f"{index} above chance (columns permuted)"),
            title=TITLE.format(f"{name} {index}" if len(kinds) > 1 else name),
            ax=ax,
        )


def changes(ax: Axes, rise: float, steps: int = 24) -> None:
    k = np.arange(1, steps)
    draw_changes(
        {
            "slerp: fastest / slowest 1.36, length 1.27 × straight": 0.1 + rise * k / steps,
            "linear: fastest / slowest 1.26, length 1.16 × straight": 0.1 + rise * np.sin(k / 9),
        },
        straight=2.0,
        title=f"flower to {LONG} · mini · 512×384 px",
        ax=ax,
    )


def transfer(size: Size, labels: list[str], targets: list[str]) -> Figure:
    cosines = np.random.default_rng(0).uniform(-1, 1, (len(targets), len(labels)))
    chance = np.random.default_rng(1).uniform(-0.4, 0.4, (len(targets), 32))
    names = ("change of the image at ±2 σ", "correlations with image statistics")
    return draw_transfer(
        labels,
        targets,
        dict.fromkeys(names, (cosines, chance)),
        origin=LONG,
        title=TITLE.format(LONG),
        width=None if size == DEFAULT else size[0],
    )


def losses(ax: Axes) -> None:
    history = [
        {
            "epoch": epoch,
            **{
                data: {"total": 100 + more + 90 / epoch, "reconstruction": 80 + more, "kl": 20.0}
                for data, more in (("train", 0), ("test", 5))
            },
        }
        for epoch in range(1, 13)
    ]
    draw_losses(history, unit="nats per image", title=f"cvae, 4 latents, {LONG}", ax=ax)


def codes(ax: Axes) -> None:
    mean = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    draw_codes(Codes(mean, mean, torch.arange(200) % 10), title=f"cvae · {LONG}", ax=ax)


def sweep(size: Size) -> Figure:
    names = ("total", "reconstruction", "kl", "tilt_rho", "disentanglement", "mig")
    names += ("tilt_rho_chance", "rotated_mig", "active_units")
    row = {name: {"mean": 0.5, "interval": 0.1} for name in names}
    facts = {
        "model": {"model": "cvae", "latent": 4},
        "seeds": [0, 1],
        "epochs": 12,
        "betas": [{"beta": beta, **row} for beta in (0.5, 1, 2, 4, 8)],
    }
    return draw_sweep(facts, width=None if size == DEFAULT else size[0])


def reconstruction(size: Size, pixels: torch.Tensor) -> Figure:
    errors = (pixels - 0.9 * pixels).abs().mean(0).numpy() / 2
    return draw_reconstruction(
        pixels,
        0.9 * pixels,
        errors,
        titles=("image", "reconstruction, 29.55 dB"),
        title=f"{LONG} · mini · 128×96 px",
        width=None if size == DEFAULT else size[0],
    )


def diagnosis(size: Size) -> Figure:
    says = "spots: 8.92 levels of 255"
    rows = [
        Row(says, PIXELS, 0.9 * PIXELS, None, (104, 24, 8, 8)),
        Row("droplets: 12.3 × surroundings", PIXELS, PIXELS, PIXELS[0, ::8, ::8], (0, 0, 8, 8)),
    ]
    title = f"{LONG} · 16 images · 2 findings"
    return draw_diagnosis(rows, title=title, width=None if size == DEFAULT else size[0])


def scatter(ax: Axes) -> None:
    points = np.random.default_rng(0).normal(size=(64, 2)) * (30, 12)
    labels = ("PC 1, 26.3%", "PC 2, 11.1%")
    title = TITLE.format(LONG)
    draw_scatter(points, dict.fromkeys(range(9), RGB), labels=labels, title=title, ax=ax)


def paired() -> Figure:
    values = np.random.default_rng(0).uniform(5, 30, (6, 4))
    means = [(float(mean), float(mean) - 3, float(mean) + 3) for mean in values.mean(0)]
    panels = {
        "effective dimension": (values, means),
        "explained by the factors": (values / 40, [(m / 40, None, None) for m, *_ in means]),
    }
    who = ("mini", "pixels", "linear", "random")
    return draw_paired(who, panels, percent=("explained by the factors",), title=f"6 of {LONG}")


def spectrum_alone() -> Figure:
    """Return the only panel of latents of few cells: less than a decade of frequencies."""
    k = (np.arange(4) + 0.5) / 4
    curves = {name: (k, 3 / k**power) for name, power in (("mini", 0.5), ("taef2", 0.6))}
    name = "power of latents"
    return draw_panels(
        {name: curves}, axes={name: ("frequency / Nyquist", "power")}, logarithmic=(name,)
    )


def panels() -> Figure:
    k = np.arange(1, 65)
    curves = {name: (k, 100 / k**power) for name, power in (("mini", 1.0), ("taef2", 1.3))}
    shares = dict.fromkeys(("mini", "taef2"), (k, 1 - 1 / k))
    return draw_panels(
        {"spectrum of the latents": curves, "explained variance of tokens": shares},
        axes={
            "spectrum of the latents": ("frequency in cycles a cell", "power"),
            "explained variance of tokens": ("components", "share of the variance"),
        },
        logarithmic=("spectrum of the latents",),
        title=f"12 images of {LONG}",
    )


LATENT = np.random.default_rng(0).normal(size=(4, 12, 16))
PIXELS = torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
RGB = np.full((96, 128, 3), 90, np.uint8)
BESIDE = (LONG, "mini: PC 1–3 of 16 channels as RGB")

FIGURES: dict[str, dict[str, Callable[[Size], Figure]]] = {
    "draw_cumulative": {
        "one": on_axes(lambda ax: cumulative(ax, "power")),
        "long name": on_axes(lambda ax: cumulative(ax, "power", name=LONG)),
        "no structure": on_axes(lambda ax: cumulative(ax, "flat")),
        "few, k90 on the right": on_axes(lambda ax: cumulative(ax, "flat", count=7)),
        "one large": on_axes(lambda ax: cumulative(ax, "spike")),
        "partial": on_axes(lambda ax: cumulative(ax, "power", complete=False)),
        "three": on_axes(lambda ax: cumulative(ax, "power", "flat", "spike")),
    },
    "draw_eigenvalues": {
        "one": on_axes(lambda ax: spectra(ax, "power")),
        "long name": on_axes(lambda ax: spectra(ax, "power", name=LONG)),
        "under a decade": on_axes(lambda ax: spectra(ax, "flat", count=5)),
        "one large": on_axes(lambda ax: spectra(ax, "spike")),
        "three": on_axes(lambda ax: spectra(ax, "power", "flat", "spike")),
    },
    "draw_changes": {
        "even": on_axes(lambda ax: changes(ax, 0.0)),
        "rising": on_axes(lambda ax: changes(ax, 0.3)),
        "falling": on_axes(lambda ax: changes(ax, -0.08, steps=60)),
    },
    "draw_transfer": {
        "five": lambda size: transfer(size, [f"PC {k}" for k in range(1, 6)], ["china", LONG]),
        "twelve": lambda size: transfer(
            size, [f"independent component {k}" for k in range(12)], [f"{LONG}{k}" for k in "abc"]
        ),
    },
    "draw_latent": {
        "one": on_axes(lambda ax: draw_latent(LATENT, title=f"{LONG}: PC 1–3 as RGB", ax=ax))
    },
    "draw_latent_beside": {
        "both": lambda size: draw_latent_beside(
            LATENT, PIXELS, titles=BESIDE, width=None if size == DEFAULT else size[0]
        ),
        "latent": lambda size: draw_latent_beside(LATENT, titles=BESIDE),
    },
    "draw_reconstruction": {
        "wide": lambda size: reconstruction(size, PIXELS),
        "tall": lambda size: reconstruction(size, PIXELS.transpose(1, 2)),
    },
    "draw_diagnosis": {"two": diagnosis},
    "draw_paired": {"two": lambda size: paired()},
    "draw_panels": {"alone": lambda size: spectrum_alone(), "two": lambda size: panels()},
    "draw_scatter": {"one": on_axes(scatter)},
    "draw_pixels": {"one": on_axes(lambda ax: draw_pixels(ax, RGB, "an image"))},
    "draw_losses": {"one": on_axes(losses)},
    "draw_codes": {"one": on_axes(codes)},
    "draw_sweep": {"one": sweep},
}
"""Function → case → the figure of a size: what commands and ``plot`` draw."""

CASES = [
    pytest.param(
        *(draw, size),
        id=f"{function}-{case}-{size[0]}",
        marks=[pytest.mark.slow] * (size == COLUMN or n > 0),
    )
    for function, cases in FIGURES.items()
    for n, (case, draw) in enumerate(cases.items())
    for size in (DEFAULT, COLUMN)
]


def functions_that_draw() -> Iterator[str]:
    """Yield the public functions ``draw_…`` of latentlab that return axes or a figure."""
    for path in Path(latentlab.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("draw_"):
                returned = "" if node.returns is None else ast.unparse(node.returns)
                if path.parent.name == "figures" or returned in ("Axes", "Figure"):
                    yield node.name


def test_the_table_has_every_function_that_draws() -> None:
    assert {*functions_that_draw()} == {*FIGURES}


# What is looked at: boxes in pixels, and the drawn pixels.


def visible_texts(figure: Figure) -> list[Text]:
    """Return the texts that are drawn, without the labels of ticks outside of their axis."""
    hidden: set[int] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()
            outside = [tick for tick in ticks if not low <= tick.get_loc() <= high]
            gone = outside if ax.axison else ticks
            hidden |= {id(label) for tick in gone for label in (tick.label1, tick.label2)}
            hidden |= set() if ax.axison else {id(axis.label)}
            hidden.add(id(axis.offsetText))
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden
    ]


def meet(first: Text, second: Text) -> bool:
    """Return whether two texts overlap; those turned by the same angle along their lines."""
    boxes = [text.get_window_extent() for text in (first, second)]
    angle = first.get_rotation()
    if angle % 90 or second.get_rotation() % 90:
        if angle != second.get_rotation():
            return bool(boxes[0].overlaps(boxes[1]))
        ends = [text.get_transform().transform(text.get_position()) for text in (first, second)]
        between = abs(ends[0][0] - ends[1][0]) * math.sin(math.radians(angle))
        return between < 0.9 * first.get_fontsize() * first.figure.dpi / 72
    smaller = [Bbox.from_extents(b.x0 + 1, b.y0 + 1, b.x1 - 1, b.y1 - 1) for b in boxes]
    return bool(smaller[0].overlaps(smaller[1]))


def points_of(ax: Axes) -> np.ndarray:
    """Return points (n, 2) in pixels, close together, on all lines of an axis, where visible."""
    found = [np.empty((0, 2))]
    for line in ax.lines:
        ends = line.get_transform().transform(line.get_xydata())
        for start, end in pairwise(ends):
            found.append(start + np.linspace(0, 1, 200)[:, None] * (end - start))
        found.append(ends)
    points = np.concatenate(found)
    points = points[np.isfinite(points).all(1)]
    box = ax.bbox
    inside = (points >= [box.x0, box.y0]) & (points <= [box.x1, box.y1])
    return points[inside.all(1)]


def check(figure: Figure) -> None:
    """Assert that a figure can be printed as it is."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    for border in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (border == 255).all()
    texts = visible_texts(figure)
    for text in texts:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for first, second in combinations(texts, 2):
        assert not meet(first, second), (first, second)
    for ax in figure.axes:
        if ax.get_label() == "<colorbar>":
            continue
        assert min(ax.bbox.width, ax.bbox.height) > 0.2 * min(figure.bbox.width, figure.bbox.height)
        for note in (text for text in ax.texts if isinstance(text, Annotation)):
            frame = note.get_window_extent()
            x, y = points_of(ax).T
            assert not ((frame.x0 < x) & (x < frame.x1) & (frame.y0 < y) & (y < frame.y1)).any()
        if legend := ax.get_legend():
            frame = legend.get_window_extent()
            x, y = points_of(ax).T
            covered = (frame.x0 < x) & (x < frame.x1) & (frame.y0 < y) & (y < frame.y1)
            assert not covered.any()
            own = {id(text) for text in legend.findobj(Text)}
            others = [text.get_window_extent() for text in texts if id(text) not in own]
            assert not any(frame.overlaps(box) for box in others)


@pytest.mark.parametrize(("draw", "size"), CASES)
def test_every_figure_can_be_printed_as_it_is(draw: Callable[[Size], Figure], size: Size) -> None:
    check(draw(size))
