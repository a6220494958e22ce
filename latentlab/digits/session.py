"""A training from start to run folder: checkpoints, figures, facts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from latentlab.digits.data import DigitsData, load_data
from latentlab.digits.figures import (
    TrainingFilm,
    draw_codes,
    draw_losses,
    draw_reconstructions,
    draw_samples,
    widest_dimensions,
)
from latentlab.digits.folders import (
    CHECKPOINT,
    METRICS,
    load_tensors,
    save_run,
    save_tensors,
    write_history,
)
from latentlab.digits.measure import encode_digits
from latentlab.digits.models import DigitsConfig, config_from
from latentlab.digits.tilt import find_tilt
from latentlab.digits.training import Recipe, Trainer, recipe_from
from latentlab.errors import FileError, UsageError
from latentlab.figures.animation import write_animation
from latentlab.figures.canvas import new_figure, png_bytes
from latentlab.images.reading import save_png
from latentlab.latents import Progress
from latentlab.machine.files import check_folder, replace_when_done

_SNAPSHOTS = 10


def start_training(
    config: DigitsConfig,
    recipe: Recipe,
    data: DigitsData,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
) -> Trainer:
    """Return a trainer at epoch 0.

    Raises
    ------
    UsageError : the folder holds an unfinished training.
    FileError : the folder cannot be written.
    """
    check_folder(folder)
    if (folder / CHECKPOINT).is_file():
        raise UsageError(
            f"--out {folder} with a checkpoint of an earlier training",
            "a new folder, or --resume to go on",
            "add --resume, or choose another --out",
        )
    return Trainer(config, recipe, data, device=device)


def resume_training(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    offline: bool = False,
    progress: Progress | None = None,
) -> tuple[Trainer, DigitsData]:
    """Return the trainer and data of a folder's checkpoint.

    Raises
    ------
    FileError : there is no checkpoint, it is damaged, or the data has changed since.
    """
    path = folder / CHECKPOINT
    tensors, facts = load_tensors(path)
    try:
        config, recipe = config_from(facts["model"]), recipe_from(facts["training"])
        data = load_data(facts["data"]["name"], offline=offline, progress=progress)
        if dict(data.sha256) != facts["data"]["sha256"]:
            raise FileError(
                f"{data.name}, which has changed since {folder} was begun",
                "the same data",
                "train anew in another --out",
            )
        trainer = Trainer(config, recipe, data, device=device)
        trainer.restore(tensors, facts)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FileError(
            f"{path}, which cannot be used ({error})",
            "the checkpoint of a training",
            "train anew in another --out",
        ) from error
    return trainer, data


def finish_training(
    trainer: Trainer, data: DigitsData, folder: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Train what is left, writing a checkpoint after every epoch; return the run's facts.

    An interruption loses the epoch that it falls into, and nothing else.
    """
    began = time.monotonic()
    batches = -(-len(data.train) // trainer.recipe.batch)
    every = max(1, trainer.recipe.epochs // _SNAPSHOTS)
    _save_checkpoint(trainer, data, folder)
    while not trainer.is_done:
        done = trainer.epoch * batches

        def show(step: int, done: int = done) -> None:
            if progress:
                progress("training", done + step, trainer.recipe.epochs * batches)

        trainer.run_epoch(show)
        _save_checkpoint(trainer, data, folder)
        if trainer.epoch % every == 0:
            film = _film(trainer, data)
            save_png(folder / "training.png", film.frame(trainer.epoch))
    seconds = time.monotonic() - began
    return {**_write_results(trainer, data, folder), "seconds": round(seconds, 2)}


def _save_checkpoint(trainer: Trainer, data: DigitsData, folder: Path) -> None:
    tensors, facts = trainer.state()
    write_history(folder / METRICS, trainer.history)
    save_tensors(folder / CHECKPOINT, tensors, {**facts, **_described(trainer, data)})


def _described(trainer: Trainer, data: DigitsData) -> dict[str, Any]:
    return {
        "model": trainer.model.config.describe(),
        "training": trainer.recipe.describe(),
        "data": {
            "name": data.name,
            "sha256": dict(data.sha256),
            "train": len(data.train),
            "test": len(data.test),
        },
    }


def _write_results(trainer: Trainer, data: DigitsData, folder: Path) -> dict[str, Any]:
    codes = encode_digits(trainer.model, data.test)
    tilt = find_tilt(codes, data.test.pictures)
    facts = {
        **_described(trainer, data),
        "unit": unit_of(trainer),
        "test": trainer.history[-1]["test"],
        "tilt_dimension": tilt.dimension,
        "tilt_rho": list(tilt.rho),
    }
    files = save_run(folder, trainer.model, facts, trainer.history, codes)
    files += _write_figures(trainer, data, folder)
    return {**facts, "files": [str(path) for path in files]}


def _write_figures(trainer: Trainer, data: DigitsData, folder: Path) -> list[Path]:
    model, title = trainer.model, title_of(trainer.model.config, trainer.recipe, data.name)
    codes = encode_digits(model, data.test)
    film = _film(trainer, data)
    sheets = {
        "training.png": film.frame(trainer.epoch),
        "reconstructions.png": draw_reconstructions(model, trainer.watched, title=title),
        "samples.png": draw_samples(model, codes, title=title, seed=trainer.recipe.seed),
    }
    for name, pixels in sheets.items():
        save_png(folder / name, pixels)
    files = [folder / name for name in sheets]
    losses, latent = new_figure(), new_figure(6.4, 5.2)
    draw_losses(trainer.history, unit=unit_of(trainer), ax=losses.add_subplot()).set_title(
        title, fontsize=10, parse_math=False
    )
    draw_codes(codes, widest_dimensions(codes), title=title, ax=latent.add_subplot())
    for name, figure in (("losses.png", losses), ("latent.png", latent)):
        with replace_when_done(folder / name) as unfinished:
            unfinished.write_bytes(png_bytes(figure))
        files.append(folder / name)
    frames = film.all()
    files.append(write_animation(folder / "training.gif", frames, fps=12, ping_pong=False))
    return files


def _film(trainer: Trainer, data: DigitsData) -> TrainingFilm:
    return TrainingFilm(
        trainer.watched,
        trainer.frames,
        trainer.history,
        epochs=trainer.recipe.epochs,
        unit=unit_of(trainer),
        title=title_of(trainer.model.config, trainer.recipe, data.name),
    )


def unit_of(trainer: Trainer) -> str:
    """Return the unit of the losses."""
    return "nats" if trainer.model.config.is_variational else "squared error"


def title_of(config: DigitsConfig, recipe: Recipe, data: str) -> str:
    """Return what figures say above: model, latents, β, data and seed."""
    weight = f", β = {recipe.beta.final:g}" if config.is_variational else ""
    kind = ", β-TC" if config.is_variational and recipe.objective == "beta-tc" else ""
    source = data if data in ("mnist", "digits") else Path(data).name
    return f"{config.model}, {config.latent} latents{weight}{kind}, {source}, seed {recipe.seed}"
