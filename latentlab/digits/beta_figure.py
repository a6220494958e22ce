"""The figure of a β sweep, and the files of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.figures.canvas import PALETTE, new_figure, png_bytes
from latentlab.machine.files import write_bytes
from latentlab.results.folders import write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BESIDE = 0.08
_NARROW = 7.0


def save_sweep(facts: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write ``sweep.png`` and ``sweep.json``; return the facts and the files' paths.

    Parameters
    ----------
    facts : of :func:`latentlab.digits.beta_sweep.sweep_betas`
    folder : for the files
    """
    files = [
        write_bytes(folder / "sweep.png", png_bytes(draw_sweep(facts))),
        write_json(folder / "sweep.json", facts),
    ]
    return {**facts, "files": files}


def draw_sweep(facts: Mapping[str, Any], *, width: float | None = None) -> Figure:
    """Draw losses, disentanglement and active units against β, with intervals over seeds.

    Parameters
    ----------
    facts : of :func:`latentlab.digits.beta_sweep.sweep_betas`
    width : float, optional; of the figure, in inches. In narrow figures the panels are stacked.
    """
    from latentlab.figures.fitting import fit, fit_main_title

    model, seeds = facts["model"], len(facts["seeds"])
    stacked = width is not None and width < _NARROW
    figure = new_figure(width or 10.2, 8.4 if stacked else 4.2)
    losses, scores, active = figure.subplots(*(3, 1) if stacked else (1, 3))
    data, green, red, gray = (PALETTE[key] for key in ("data", "linear", "log", "chance"))
    _draw(
        losses,
        facts["betas"],
        ("total", "total", data, "o-"),
        ("reconstruction", "reconstruction", green, "o-"),
        ("kl", "KL", red, "o-"),
    )
    losses.set(ylabel="loss on the test set (nats)", ylim=(0, None))
    _draw(
        scores,
        facts["betas"],
        ("tilt_rho", "|ρ| of the tilt with the slant", data, "o-"),
        ("disentanglement", "DCI disentanglement", green, "o-"),
        ("mig", "MIG", red, "o-"),
        ("tilt_rho_chance", "|ρ|, images shuffled", gray, "s--"),
        ("rotated_mig", "MIG, latents rotated", gray, "^--"),
    )
    scores.set(ylabel="score (0 to 1)", ylim=(0, 1))
    _draw(active, facts["betas"], ("active_units", "", data, "o-"))
    active.set(ylabel="active units", ylim=(0, model["latent"] + 0.5))
    interval = f"mean and 95 % interval of {seeds} seeds" if seeds > 1 else "one seed: no interval"
    title = f"{model['model']}, {model['latent']} latents, {facts['epochs']} epochs; {interval}"
    figure.suptitle(title, fontsize=10)
    fit_main_title(figure)
    for ax in (losses, scores, active):
        fit(ax)
    return figure


def _draw(ax: Axes, rows: Sequence[Mapping[str, Any]], *series: tuple[str, str, str, str]) -> None:
    """Draw series of name, label, color and style against β, shifted sideways to stay apart."""
    positions = np.arange(len(rows))
    for index, (name, label, color, style) in enumerate(series):
        mean = [row[name]["mean"] for row in rows]
        half = [row[name]["interval"] or 0.0 for row in rows]
        beside = positions + _BESIDE * (index - (len(series) - 1) / 2)
        ax.errorbar(
            beside, mean, half, fmt=style, ms=4, lw=1.2, capsize=2, color=color, label=label
        )
    ax.set_xticks(positions, [f"{row['beta']:g}" for row in rows])
    ax.set_xlabel("β, weight of the KL term")
    ax.grid(alpha=0.25, lw=0.5)
