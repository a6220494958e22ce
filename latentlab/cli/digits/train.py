"""``latentlab digits train``: an autoencoder, a VAE or a conditional VAE of digits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, progress_bar, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.setting import device_for, read_data, record_command, results_folder
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.digits.models import DigitsConfig
    from latentlab.digits.training import Recipe

_KEEP = {"resume", "out", "device", "json", "quiet", "offline", "debug"}


def train(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", "-m", help="autoencoder, vae or cvae (is told the label).")
    ] = "cvae",
    data: digits_options.Data = "digits",
    latent: Annotated[int, typer.Option(help="How many latent numbers.")] = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 100,
    beta: Annotated[float, typer.Option(help="Weight of the KL term.")] = 1.0,
    beta_start: Annotated[
        float | None, typer.Option(help="Weight in the first epoch: 0 warms up, 10 anneals.")
    ] = None,
    beta_epochs: Annotated[
        int, typer.Option(help="Epochs in which --beta-start becomes --beta.")
    ] = 0,
    objective: Annotated[
        str, typer.Option(help="elbo, or beta-tc: --beta weighs the total correlation only.")
    ] = "elbo",
    network: Annotated[str, typer.Option(help="mlp or conv.")] = "mlp",
    hidden: digits_options.Hidden = None,
    batch: Annotated[int, typer.Option(help="Pictures a step.")] = 128,
    rate: Annotated[float, typer.Option(help="Adam's learning rate.")] = 1e-3,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: bool = False,
) -> None:
    """Train a model of digits; write weights, figures and the film of the training."""
    from latentlab.digits.session import finish_training, resume_training, start_training

    place = device_for(device)
    if resume:
        folder = _folder_to_resume(context, out)
        with progress_bar(quiet=quiet, in_bytes=True) as progress:
            trainer, digits = resume_training(
                folder, device=place, offline=offline, progress=progress
            )
        say(f"going on after epoch {trainer.epoch} of {trainer.recipe.epochs}", quiet=quiet)
    else:
        recipe = _recipe(epochs, beta, beta_start, beta_epochs, objective, batch, rate, seed)
        _config(model, latent, network, hidden, 28)  # refuses before anything is downloaded
        digits = read_data(data, offline=offline, quiet=quiet)
        config = _config(model, latent, network, hidden, digits.train.size)
        folder = results_folder(out, f"{model}-{seed}")
        trainer = start_training(config, recipe, digits, folder, device=place)
    say(f"training in {folder}; Ctrl-C stops, --resume --out {folder} goes on", quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        facts = finish_training(trainer, digits, folder, progress)
    facts["files"].append(
        str(record_command(folder, "train", context.obj, seed=trainer.recipe.seed))
    )
    facts = {"out": str(folder), **facts}
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _folder_to_resume(context: typer.Context, out: Path | None) -> Path:
    """Return ``--out``, refusing options that the checkpoint has settled.

    Raises
    ------
    UsageError : no ``--out``, or an option that a resumed training cannot change.
    """
    if out is None:
        raise UsageError("--resume without --out", "the folder to go on in", "add --out DIR")
    given = [
        name
        for name in context.params
        if name not in _KEEP and "COMMANDLINE" in str(context.get_parameter_source(name))
    ]
    if given:
        raise UsageError(
            f"--resume with {', '.join('--' + name.replace('_', '-') for name in given)}",
            "only --out: the checkpoint knows the rest",
            "leave the others out, or train anew in another --out",
        )
    return out


def _recipe(
    epochs: int,
    beta: float,
    beta_start: float | None,
    beta_epochs: int,
    objective: str,
    batch: int,
    rate: float,
    seed: int,
) -> Recipe:
    from latentlab.digits.objective import Beta
    from latentlab.digits.training import Recipe

    return Recipe(
        epochs=epochs,
        beta=Beta(beta, beta_start, beta_epochs),
        objective=objective,
        batch=batch,
        rate=rate,
        seed=seed,
    )


def _config(model: str, latent: int, network: str, hidden: str | None, size: int) -> DigitsConfig:
    from latentlab.digits.models import DigitsConfig

    widths = digits_options.parse_numbers("--hidden", hidden, whole=True) if hidden else ()
    return DigitsConfig(
        model, latent, network=network, hidden=tuple(int(width) for width in widths), size=size
    )


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    test, unit = facts["test"], facts["unit"]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("reconstruction", f"{test['reconstruction']:.2f} {unit}")
    if unit == "nats":
        table.add_row("KL", f"{test['kl']:.2f} nats")
        table.add_row("total (negative ELBO)", f"{test['total']:.2f} nats")
        each = ", ".join(f"{value:.2f}" for value in test["kl_per_dimension"])
        table.add_row("KL by dimension", f"{each} nats")
    table.add_row("active units", f"{test['active_units']} of {facts['model']['latent']}")
    tilt = facts["tilt_dimension"]
    table.add_row("the tilt", f"z{tilt}, |ρ| {facts['tilt_rho'][tilt]:.2f} within a label")
    console = Console(highlight=False, markup=False)
    console.print("on the test set, after training", style="bold")
    console.print(table)
    for path in facts["files"]:
        print(path)
