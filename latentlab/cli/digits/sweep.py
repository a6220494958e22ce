"""``latentlab.digits.beta_sweep``: the trade-off that β buys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, progress_bar, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.setting import read_data, record_command, results_folder
from latentlab.errors import UsageError

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
    betas: Annotated[str, typer.Option(help="Weights of the KL term, with commas.")] = (
        "0.5,1,2,4,8,16"
    ),
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="How many seeds for each, from --seed on.")
    ] = 3,
    model: Annotated[str, typer.Option("--model", "-m", help="vae or cvae.")] = "cvae",
    data: digits_options.Data = "digits",
    latent: Annotated[int, typer.Option(help="How many latent numbers.")] = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training set for each.")] = 20,
    network: Annotated[str, typer.Option(help="mlp or conv.")] = "mlp",
    hidden: digits_options.Hidden = None,
    batch: Annotated[int, typer.Option(help="Pictures a step.")] = 128,
    seed: options.Seed = 0,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: options.Debug = False,
) -> None:
    """Train a model for every β and seed: reconstruction against disentanglement."""
    from latentlab.digits.models import DigitsConfig
    from latentlab.digits.objective import Beta
    from latentlab.digits.beta_sweep import describe_sweep, draw_sweep, sweep_betas
    from latentlab.digits.training import Recipe
    from latentlab.files import replace_when_done
    from latentlab.plots import png_bytes
    from latentlab.runs import write_json

    if model == "autoencoder":
        raise UsageError("--model autoencoder", "vae or cvae, which have a β", "choose one")
    weights = digits_options.parse_numbers("--betas", betas)
    for weight in weights:
        Beta(weight)  # refuses before anything is trained
    widths = digits_options.parse_numbers("--hidden", hidden, whole=True) if hidden else ()
    recipe = Recipe(epochs=epochs, batch=batch)
    digits = read_data(data, offline=offline, quiet=quiet)
    config = DigitsConfig(
        model, latent, network, tuple(int(width) for width in widths), digits.train.size
    )
    folder = results_folder(out, "sweep")
    say(f"training {len(weights) * seeds} models of {epochs} epochs", quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        found = sweep_betas(
            config, recipe, digits, weights, range(seed, seed + seeds), progress=progress
        )
    facts: dict[str, Any] = {
        "model": config.describe(),
        "data": digits.name,
        "epochs": epochs,
        **describe_sweep(found),
    }
    title = f"{model}, {latent} latents, {epochs} epochs"
    with replace_when_done(folder / "sweep.png") as unfinished:
        unfinished.write_bytes(png_bytes(draw_sweep(found, title=title)))
    files = [
        folder / "sweep.png",
        write_json(folder / "sweep.json", facts),
        record_command(folder, "sweep", context.obj, seed=seed),
    ]
    facts |= {"out": str(folder), "files": [str(file) for file in files]}
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    seeds = len(facts["seeds"])
    said = f"mean and 95 % interval of {seeds} seeds" if seeds > 1 else "one seed: no interval"
    console.print(f"on the test set, losses in nats; {said}", style="bold")
    for columns in (_LOSSES, _SCORES):
        console.print(_table(facts, columns))
    for path in facts["files"]:
        print(path)


def _table(facts: Mapping[str, Any], columns: Mapping[str, tuple[str, str]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("β", *(heading for heading, _ in columns.values())):
        table.add_column(heading, justify="right")
    for row in facts["betas"]:
        cells = []
        for name, (_, form) in columns.items():
            half = row[name]["interval"]
            around = "" if half is None else f" ± {half:{form}}"
            cells.append(f"{row[name]['mean']:{form}}{around}")
        table.add_row(f"{row['beta']:g}", *cells)
    return table
