"""The figure of a β sweep, and the files of its results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.digits.beta_sweep import BetaSweep, describe_sweep, mean_and_interval
from latentlab.figures.canvas import PALETTE, new_figure, png_bytes
from latentlab.machine.files import write_bytes
from latentlab.results.folders import write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BESIDE = 0.08


def save_sweep(sweep: BetaSweep, folder: Path) -> dict[str, Any]:
    """Write ``sweep.png`` and ``sweep.json``; return the facts and the files' paths."""
    facts = describe_sweep(sweep)
    files = [
        write_bytes(folder / "sweep.png", png_bytes(draw_sweep(sweep))),
        write_json(folder / "sweep.json", facts),
    ]
    return {**facts, "files": files}


def draw_sweep(sweep: BetaSweep) -> Figure:
    """Draw losses, disentanglement and active units against β, with intervals over seeds."""
    figure = new_figure(10.2, 4.2)
    losses, scores, active = figure.subplots(1, 3)
    data, green, red, gray = (PALETTE[key] for key in ("data", "linear", "log", "chance"))
    _draw(
        losses,
        sweep,
        ("total", "total", data, "o-"),
        ("reconstruction", "reconstruction", green, "o-"),
        ("kl", "KL", red, "o-"),
    )
    losses.set(ylabel="loss on the test set (nats)", ylim=(0, None))
    _draw(
        scores,
        sweep,
        ("tilt_rho", "|ρ| of the tilt with the slant", data, "o-"),
        ("disentanglement", "DCI disentanglement", green, "o-"),
        ("mig", "MIG", red, "o-"),
        ("tilt_rho_chance", "|ρ|, images shuffled", gray, "s--"),
        ("rotated_mig", "MIG, latents rotated", gray, "^--"),
    )
    scores.set(ylabel="score (0 to 1)", ylim=(0, 1))
    _draw(active, sweep, ("active_units", "active units", data, "o-"))
    active.set(ylabel="active units", ylim=(0, sweep.config.latent + 0.5))
    for ax in (losses, scores):
        ax.legend(
            fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False
        )
    seeds = f"mean and 95 % interval of {len(sweep.seeds)} seeds"
    if len(sweep.seeds) == 1:
        seeds = "one seed: no interval"
    title = f"{sweep.config.model}, {sweep.config.latent} latents, {sweep.epochs} epochs; {seeds}"
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _draw(ax: Axes, sweep: BetaSweep, *series: tuple[str, str, str, str]) -> None:
    """Draw series of name, label, color and style against β, shifted sideways to stay apart."""
    positions = np.arange(len(sweep.betas))
    for index, (name, label, color, style) in enumerate(series):
        mean, half = mean_and_interval(sweep.values[name])
        beside = positions + _BESIDE * (index - (len(series) - 1) / 2)
        ax.errorbar(
            beside, mean, half, fmt=style, ms=4, lw=1.2, capsize=2, color=color, label=label
        )
    ax.set_xticks(positions, [f"{beta:g}" for beta in sweep.betas])
    ax.set_xlabel("β, weight of the KL term")
    ax.grid(alpha=0.25, lw=0.5)
