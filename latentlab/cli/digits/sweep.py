"""``latentlab digits sweep``: the trade-off that β sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import progress_bar, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.results import print_table, report, results_folder

_LOSSES = {
    "reconstruction": ("reconstruction", ".2f"),
    "kl": ("KL", ".2f"),
    "total": ("total", ".2f"),
    "active_units": ("active units", ".1f"),
}
_SCORES = {
    "tilt_rho": ("|ρ| of the tilt", ".2f"),
    "tilt_rho_chance": ("by chance", ".2f"),
    "mig": ("MIG", ".3f"),
    "rotated_mig": ("MIG rotated", ".3f"),
    "disentanglement": ("DCI D", ".2f"),
}


def sweep(
    context: typer.Context,
    betas: Annotated[
        str, typer.Option(help="Weights of the KL term, separated by commas.")
    ] = "0.5,1,2,4,8,16",
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Seeds for each weight, counting up from --seed.")
    ] = 3,
    model: Annotated[str, typer.Option("--model", "-m", help="vae or cvae.")] = "cvae",
    data: digits_options.Data = "digits",
    latent: digits_options.Latent = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training set for each model.")] = 20,
    network: digits_options.Network = "mlp",
    hidden: digits_options.Hidden = None,
    batch: digits_options.Batch = 128,
    seed: options.Seed = 0,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
) -> None:
    """Train a model for every β and seed.

    Plots reconstruction against disentanglement.
    """
    from latentlab.digits.beta_figure import save_sweep
    from latentlab.digits.beta_sweep import check_sweep, sweep_betas
    from latentlab.digits.models import DigitsConfig
    from latentlab.digits.training import Recipe

    weights = digits_options.parse_numbers("--betas", betas, float)
    config = DigitsConfig(model, latent, network, digits_options.parse_hidden(hidden))
    recipe = Recipe(epochs=epochs, batch=batch)
    check_sweep(config, weights)
    digits = digits_options.read_data(data, offline=offline, quiet=quiet)
    config = replace(config, size=digits.train.size)
    folder = results_folder(out, "sweep")
    say(f"training {len(weights) * seeds} models with --epochs {epochs}", quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        numbers = range(seed, seed + seeds)
        found = sweep_betas(config, recipe, digits, weights, numbers, progress=progress)
    facts = save_sweep(found, folder)
    report(context, folder, facts, _print_summary, seed=seed)


def _print_summary(facts: Mapping[str, Any]) -> None:
    seeds = len(facts["seeds"])
    interval = f"mean and 95 % interval of {seeds} seeds" if seeds > 1 else "one seed: no interval"
    for columns, title in (
        (_LOSSES, f"on the test set, losses in nats; {interval}"),
        (_SCORES, None),
    ):
        headings = ["β", *(heading for heading, _ in columns.values())]
        print_table(headings, [_cells(row, columns) for row in facts["betas"]], title)


def _cells(row: Mapping[str, Any], columns: Mapping[str, tuple[str, str]]) -> list[str]:
    cells = [f"{row['beta']:g}"]
    for name, (_, form) in columns.items():
        half = row[name]["interval"]
        around = "" if half is None else f" ± {half:{form}}"
        cells.append(f"{row[name]['mean']:{form}}{around}")
    return cells
