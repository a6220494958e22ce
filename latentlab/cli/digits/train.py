"""``latentlab digits train``: an autoencoder, a VAE or a conditional VAE of digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import progress_bar, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.results import print_table, report, results_folder
from latentlab.errors import UsageError

_FREE = {"resume", "out", "device", "json", "quiet", "offline"}
"""Options that --resume accepts."""


def train(
    context: typer.Context,
    model: Annotated[
        str, typer.Option("--model", "-m", help="autoencoder, vae or cvae (uses the label).")
    ] = "cvae",
    data: digits_options.Data = "digits",
    latent: digits_options.Latent = 8,
    epochs: Annotated[int, typer.Option(help="Passes over the training set.")] = 100,
    beta: Annotated[float, typer.Option(help="Weight of the KL term.")] = 1.0,
    beta_start: Annotated[
        float | None, typer.Option(help="Weight in the first epoch: 0 warms up, 10 anneals.")
    ] = None,
    beta_epochs: Annotated[
        int, typer.Option(help="Epochs over which --beta-start changes to --beta.")
    ] = 0,
    objective: Annotated[
        str, typer.Option(help="elbo, or beta-tc, where --beta weights only the total correlation.")
    ] = "elbo",
    network: digits_options.Network = "mlp",
    hidden: digits_options.Hidden = None,
    batch: digits_options.Batch = 128,
    rate: Annotated[float, typer.Option(help="Adam's learning rate.")] = 1e-3,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in --out.")
    ] = False,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
) -> None:
    """Train a model of digits.

    Writes weights, figures and a film of the training.
    """
    from latentlab.digits.models import DigitsConfig
    from latentlab.digits.objective import Beta
    from latentlab.digits.session import finish_training, resume_training, start_training
    from latentlab.digits.training import Recipe
    from latentlab.loaders.device import choose_device

    place = choose_device(device)
    if resume:
        folder = _folder_to_resume(context, out)
        with progress_bar(quiet=quiet, in_bytes=True) as progress:
            trainer = resume_training(folder, device=place, offline=offline, progress=progress)
        say(f"resuming after epoch {trainer.epoch} of {trainer.recipe.epochs}", quiet=quiet)
    else:
        schedule = Beta(beta, beta_start, beta_epochs)
        recipe = Recipe(epochs, schedule, objective, batch, rate, seed)
        config = DigitsConfig(model, latent, network, digits_options.parse_hidden(hidden))
        digits = digits_options.read_data(data, offline=offline, quiet=quiet)
        config = replace(config, size=digits.train.size)
        folder = results_folder(out, f"{model}-{seed}")
        trainer = start_training(config, recipe, digits, folder, device=place)
    say(f"training in {folder}; Ctrl-C stops, --resume --out {folder} resumes", quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        facts = finish_training(trainer, folder, progress)
    report(context, folder, facts, _print_summary, seed=trainer.recipe.seed)


def _folder_to_resume(context: typer.Context, out: Path | None) -> Path:
    """Return ``--out``, refusing options that the checkpoint determines.

    Raises
    ------
    UsageError : no ``--out``, or an option that a resumed training cannot change.
    """
    if out is None:
        raise UsageError("--resume without --out", "the folder of the training", "add --out DIR")
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in _FREE and "COMMANDLINE" in str(context.get_parameter_source(name))
    ]
    if given:
        raise UsageError(
            f"--resume with {', '.join(given)}",
            "only --out: the checkpoint determines the rest",
            "leave the others out, or train a new model in another --out",
        )
    return out


def _tilt(tilt: int | None, facts: Mapping[str, Any]) -> str:
    if tilt is not None:
        return f"z{tilt}, |ρ| {facts['tilt_rho'][tilt]:.2f} within a label"
    collapsed = facts["test"]["active_units"] == 0
    return "none: all latents have collapsed" if collapsed else "none above chance"


def _print_summary(facts: Mapping[str, Any]) -> None:
    test, unit, tilt = facts["test"], facts["unit"], facts["tilt_dimension"]
    rows = [("reconstruction", f"{test['reconstruction']:.2f} {unit}")]
    if unit == "nats":
        each = ", ".join(f"{value:.2f}" for value in test["kl_per_dimension"])
        rows += [
            ("KL", f"{test['kl']:.2f} nats"),
            ("total (negative ELBO)", f"{test['total']:.2f} nats"),
            ("KL by dimension", f"{each} nats"),
        ]
    rows += [
        ("active units", f"{test['active_units']} of {facts['model']['latent']}"),
        ("the tilt", _tilt(tilt, facts)),
    ]
    print_table(["", ""], rows, title="on the test set, after training")
