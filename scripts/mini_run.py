"""A training run of ``mini``: its recipe, its state, and the files that it resumes from."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from latentlab.errors import FileError
from latentlab.machine.files import replace_when_done


@dataclass(frozen=True)
class Recipe:
    """Everything that decides which weights come out, besides the photos."""

    steps: int = 10000
    seed: int = 0
    channels: tuple[int, ...] = (16, 32, 80, 144)
    batch: int = 16
    crops: tuple[int, ...] = (64, 128, 256)
    rate: float = 1.5e-3
    warm_up: int = 200
    decay: float = 1e-3
    clip: float = 1.0
    average: float = 0.999
    l1: float = 0.5
    l2: float = 10.0
    kl: float = 5e-8
    logvar: float = -18.0
    precision: str = "bfloat16"
    validation: int = 20


@dataclass
class Run:
    """What training changes: the model, its moving average, the optimizer and the step."""

    vae: nn.Module
    averaged: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0


def save_checkpoint(run: Run, recipe: Recipe, photos: int, path: Path) -> None:
    """Replace the checkpoint in one move; it loads with ``weights_only=True``."""
    state = {
        "recipe": json.dumps(asdict(recipe)),
        "photos": photos,
        "step": run.step,
        "vae": run.vae.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimizer": run.optimizer.state_dict(),
    }
    with replace_when_done(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(run: Run, recipe: Recipe, photos: int, path: Path) -> None:
    """Put a run where its checkpoint left it.

    Only the number of steps may differ from the checkpoint's recipe: the rate then follows the
    new schedule from here on, which makes a run longer or shorter, and another one.

    Raises
    ------
    FileError
        There is no checkpoint, it is damaged, or it belongs to another recipe or other photos.
    """
    if not path.is_file():
        raise FileError(f"no file {path}", "the checkpoint of a run to resume", "drop --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise FileError(f"damaged {path}", "a checkpoint", "delete it and start again") from error
    then, now = json.loads(state["recipe"]), json.loads(json.dumps(asdict(recipe)))
    if (then | {"steps": recipe.steps}, state["photos"]) != (now, photos):
        raise FileError(
            f"{path} of {state['photos']} photos and {then}",
            f"{photos} photos and {now}",
            "pass another --out, or the options of that run",
        )
    run.vae.load_state_dict(state["vae"])
    run.averaged.load_state_dict(state["averaged"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step = state["step"]


def trim_log(path: Path, step: int) -> None:
    """Drop the lines of steps that will be done again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def write_line(line: dict, path: Path) -> None:
    """Append one JSON line to the log, and show it on stderr."""
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    print("  ".join(f"{key} {value}" for key, value in line.items()), file=sys.stderr, flush=True)
