"""What β buys: reconstruction against disentanglement and active units, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentlab.digits.data import DigitsData
from latentlab.digits.factors import headline, subset
from latentlab.digits.measure import encode_digits, measure_losses
from latentlab.digits.models import DigitsConfig
from latentlab.digits.morphology import measure_digits
from latentlab.digits.training import Recipe, Trainer
from latentlab.plots import PALETTE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latentlab.latents import Progress

FIGURES = (
    "reconstruction",
    "kl",
    "total",
    "active_units",
    "tilt_rho",
    "tilt_rho_chance",
    "mig",
    "disentanglement",
    "rotated_mig",
)
"""What is measured of each trained model, on the test set."""

_CONFIDENCE = 0.95
_MEASURED = 3000
_BESIDE = 0.08


@dataclass(frozen=True, eq=False)
class BetaSweep:
    """Figures of models that differ in β and seed only.

    Parameters
    ----------
    betas : weights of the KL term
    seeds : seeds
    latent : int, how many latents each model has
    values : name → array (betas, seeds)
    """

    betas: tuple[float, ...]
    seeds: tuple[int, ...]
    latent: int
    values: dict[str, NDArray[np.float64]]


def sweep_betas(
    config: DigitsConfig,
    recipe: Recipe,
    data: DigitsData,
    betas: Sequence[float],
    seeds: Sequence[int],
    *,
    progress: Progress | None = None,
) -> BetaSweep:
    """Train a model for every β and seed and measure each on the test set.

    Parameters
    ----------
    config, recipe : of every model; the recipe's β and seed are replaced
    progress : called as ``progress("training", epochs done, epochs in all)``
    """
    values = {name: np.zeros((len(betas), len(seeds))) for name in FIGURES}
    done, total = 0, len(betas) * len(seeds) * recipe.epochs
    shown = subset(data.test, _MEASURED)
    factors = measure_digits(shown.pictures.numpy())
    for row, beta in enumerate(betas):
        for column, seed in enumerate(seeds):
            trainer = Trainer(
                config, replace(recipe, beta=replace(recipe.beta, final=beta), seed=seed), data
            )
            while not trainer.is_done:
                trainer.run_epoch()
                done += 1
                if progress:
                    progress("training", done, total)
            losses = measure_losses(trainer.model, data.test, seed=seed)
            found = {
                "reconstruction": losses.reconstruction,
                "kl": losses.kl,
                "total": losses.total,
                "active_units": losses.active_units,
                **headline(encode_digits(trainer.model, shown), factors, seed=seed),
            }
            for name, value in found.items():
                values[name][row, column] = value
    return BetaSweep(tuple(betas), tuple(seeds), config.latent, values)


def interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean over seeds and half the width of its 95 % interval (Student's t).

    0 with one seed, which tells nothing of chance.

    Parameters
    ----------
    values : array, (betas, seeds)

    Examples
    --------
    >>> mean, half = interval(np.array([[1.0, 2.0, 3.0]]))
    >>> float(mean[0]), float(half[0].round(3))
    (2.0, 2.484)
    """
    from scipy.stats import t

    count = values.shape[1]
    mean: NDArray[np.float64] = values.mean(1)
    if count < 2:
        return mean, np.zeros_like(mean)
    half = t.ppf((1 + _CONFIDENCE) / 2, count - 1) * values.std(1, ddof=1) / np.sqrt(count)
    return mean, half


def describe_sweep(sweep: BetaSweep) -> dict[str, Any]:
    """Return the contents of ``sweep.json``: a row for each β."""
    rows: list[dict[str, Any]] = []
    for index, beta in enumerate(sweep.betas):
        row: dict[str, Any] = {"beta": beta}
        for name, values in sweep.values.items():
            mean, half = interval(values)
            row[name] = {
                "mean": float(mean[index]),
                "interval": float(half[index]) if len(sweep.seeds) > 1 else None,
                "values": values[index].tolist(),
            }
        rows.append(row)
    return {"seeds": list(sweep.seeds), "confidence": _CONFIDENCE, "betas": rows}


def draw_sweep(sweep: BetaSweep, *, title: str) -> Figure:
    """Draw losses, disentanglement and active units against β, with intervals over seeds."""
    figure = new_figure(10.2, 4.2)
    losses, scores, active = figure.subplots(1, 3)
    data, green, red, gray = (PALETTE[key] for key in ("data", "linear", "log", "isotropic"))
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
        ("tilt_rho_chance", "|ρ|, pictures shuffled", gray, "s--"),
        ("rotated_mig", "MIG, latents rotated", gray, "^--"),
    )
    scores.set(ylabel="score (0 to 1)", ylim=(0, 1))
    _draw(active, sweep, ("active_units", "active units", data, "o-"))
    active.set(ylabel="active units", ylim=(0, sweep.latent + 0.5))
    for ax in (losses, scores):
        ax.legend(
            fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False
        )
    chance = f"mean and 95 % interval of {len(sweep.seeds)} seeds"
    said = chance if len(sweep.seeds) > 1 else "one seed: no interval"
    figure.suptitle(f"{title}; {said}", fontsize=10, parse_math=False)
    return figure


def _draw(ax: Axes, sweep: BetaSweep, *series: tuple[str, str, str, str]) -> None:
    """Draw series of name, label, color and style against β, side by side where they meet."""
    positions = np.arange(len(sweep.betas))
    for index, (name, label, color, style) in enumerate(series):
        mean, half = interval(sweep.values[name])
        beside = positions + _BESIDE * (index - (len(series) - 1) / 2)
        ax.errorbar(
            beside, mean, half, fmt=style, ms=4, lw=1.2, capsize=2, color=color, label=label
        )
    ax.set_xticks(positions, [f"{beta:g}" for beta in sweep.betas])
    ax.set_xlabel("β, weight of the KL term")
    ax.grid(alpha=0.25, lw=0.5)
