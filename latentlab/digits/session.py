"""A training session from start to run folder: checkpoints, figures, facts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from latentlab.digits import figures, folders
from latentlab.digits.data import Device, DigitsData, load_data
from latentlab.digits.films import TrainingFilm
from latentlab.digits.measure import Codes, encode_digits
from latentlab.digits.models import DigitsConfig, config_from
from latentlab.digits.tilt import find_tilt
from latentlab.digits.training import Recipe, Trainer, recipe_from
from latentlab.errors import FileError, UsageError
from latentlab.figures.animation import write_animation
from latentlab.figures.canvas import new_figure, png_bytes
from latentlab.images.reading import save_png
from latentlab.latents import Progress
from latentlab.machine.files import check_folder, write_bytes
from latentlab.machine.parsing import WRONG_FACTS

_SNAPSHOTS = 10


def start_training(
    config: DigitsConfig, recipe: Recipe, data: DigitsData, folder: Path, *, device: Device = "cpu"
) -> Trainer:
    """Return a trainer at epoch 0.

    Raises
    ------
    UsageError : the folder holds an unfinished training.
    FileError : the folder cannot be written.
    """
    check_folder(folder)
    if (folder / folders.CHECKPOINT).is_file():
        raise UsageError(
            f"--out {folder} with a checkpoint of an earlier training",
            "a new folder, or --resume to continue that training",
            "add --resume, or choose another --out",
        )
    return Trainer(config, recipe, data, device=device)


def resume_training(
    folder: Path, *, device: Device = "cpu", offline: bool = False, progress: Progress | None = None
) -> Trainer:
    """Return the trainer at the epoch of a folder's checkpoint, with its data.

    Parameters
    ----------
    folder : with a checkpoint
    device : for the training
    offline, progress : of the data, see :func:`latentlab.digits.data.load_data`

    Raises
    ------
    FileError : the checkpoint is missing or damaged, or the data has changed since.
    """
    path = folder / folders.CHECKPOINT
    tensors, facts = folders.load_tensors(path)
    try:
        config, recipe = config_from(facts["model"]), recipe_from(facts["training"])
        data = load_data(facts["data"]["name"], offline=offline, progress=progress)
        if dict(data.sha256) != facts["data"]["sha256"]:
            raise FileError(
                f"{data.name}, which has changed since the training in {folder} began",
                "the same data",
                "train a new model in another --out",
            )
        trainer = Trainer(config, recipe, data, device=device)
        trainer.restore(tensors, facts)
    except (RuntimeError, *WRONG_FACTS) as error:
        raise FileError(
            f"{path}, which cannot be used ({error})",
            "the checkpoint of a training",
            "train a new model in another --out",
        ) from error
    return trainer


def finish_training(
    trainer: Trainer, folder: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Train the remaining epochs and write the run; return its facts and the files' paths.

    A checkpoint is written after every epoch, so an interruption loses only the epoch in progress.

    Parameters
    ----------
    trainer : of :func:`start_training` or :func:`resume_training`
    folder : for the run
    progress : called as ``progress("training", steps done, steps in all epochs)``

    Raises
    ------
    NonFiniteError : the loss is NaN or infinite.
    FileError : the folder cannot be written.
    """
    began = time.monotonic()
    every = max(1, trainer.recipe.epochs // _SNAPSHOTS)
    _save_checkpoint(trainer, folder)
    while not trainer.is_done:
        trainer.run_epoch(progress)
        _save_checkpoint(trainer, folder)
        if trainer.epoch % every == 0:
            save_png(folder / "training.png", TrainingFilm(trainer).frame(trainer.epoch))
    seconds = time.monotonic() - began
    return {**_write_results(trainer, folder), "seconds": round(seconds, 2)}


def _save_checkpoint(trainer: Trainer, folder: Path) -> None:
    tensors, facts = trainer.state()
    folders.write_history(folder / folders.METRICS, trainer.history)
    folders.save_tensors(folder / folders.CHECKPOINT, tensors, {**facts, **trainer.describe()})


def _write_results(trainer: Trainer, folder: Path) -> dict[str, Any]:
    codes = encode_digits(trainer.model, trainer.data.test)
    tilt = find_tilt(codes, trainer.data.test.images)
    facts = {
        **trainer.describe(),
        "unit": trainer.unit,
        "test": trainer.history[-1]["test"],
        "tilt_dimension": tilt.dimension,
        "tilt_rho": list(tilt.rho),
    }
    files = folders.save_run(folder, trainer.model, facts, trainer.history, codes)
    return {**facts, "files": files + _write_figures(trainer, codes, folder)}


def _write_figures(trainer: Trainer, codes: Codes, folder: Path) -> list[Path]:
    model, title, film = trainer.model, trainer.title, TrainingFilm(trainer)
    samples = figures.draw_samples(model, codes, title=title, seed=trainer.recipe.seed)
    reconstructions = figures.draw_reconstructions(model, trainer.watched, title=title)
    losses, latent = new_figure(), new_figure(6.4, 5.2)
    figures.draw_losses(trainer.history, unit=trainer.unit, title=title, ax=losses.add_subplot())
    figures.draw_codes(codes, title=title, ax=latent.add_subplot())
    return [
        save_png(folder / "training.png", film.frame(trainer.epoch)),
        save_png(folder / "reconstructions.png", reconstructions),
        save_png(folder / "samples.png", samples),
        write_bytes(folder / "losses.png", png_bytes(losses)),
        write_bytes(folder / "latent.png", png_bytes(latent)),
        write_animation(folder / "training.gif", film.all(), fps=12, ping_pong=False),
    ]
