"""A walk through the state of a page, as a file to download."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.errors import UsageError
from latentlab.explorer.pictures import plain_name
from latentlab.figures.animation import shrink_frames, write_animation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latentlab.explorer.messages import Record
    from latentlab.explorer.scenes import Scene
    from latentlab.explorer.state import State
    from latentlab.explorer.subjects import Subject
    from latentlab.latents import Progress

_TYPES = {"gif": "image/gif", "mp4": "video/mp4", "json": "application/json"}
_LONGEST = 512


def record_walk(
    scene: Scene, others: tuple[Subject, ...], asked: Record, progress: Progress
) -> tuple[str, str, bytes]:
    """Return name, media type and bytes of a walk from −span to +span along a direction.

    All else stays as the state says. Models are side by side.

    Raises
    ------
    UsageError : a direction that does not exist.
    MissingExtraError : MP4 without the extra ``video``.
    """
    labels = scene.fits[0].directions.labels
    if asked.direction >= len(labels):
        raise UsageError(
            f"direction {asked.direction + 1}", f"one of {len(labels)}", "choose another"
        )
    states = [
        _moved(asked.state, asked.direction, float(alpha))
        for alpha in np.linspace(-asked.span, asked.span, asked.steps)
    ]
    name = plain_name(f"{scene.subjects[0].latent.name}-{labels[asked.direction]}".replace(" ", ""))
    file = f"{name}.{asked.format}"
    if asked.format == "json":
        return file, _TYPES["json"], _describe(scene, states)
    frames = []
    for index, state in enumerate(states):
        progress("recording", index, len(states))
        frames.append(_side_by_side(scene.decode(state, others)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"walk.{asked.format}"
        write_animation(path, shrink_frames(frames, _LONGEST * len(scene.subjects)))
        return file, _TYPES[asked.format], path.read_bytes()


def _moved(state: State, direction: int, alpha: float) -> State:
    count = max(len(state.alphas), direction + 1)
    alphas = [*state.alphas, *[0.0] * (count - len(state.alphas))]
    alphas[direction] = alpha
    return replace(state, alphas=tuple(alphas))


def _side_by_side(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return images of one size beside one another."""
    return np.concatenate(images, axis=1)


def _describe(scene: Scene, states: list[State]) -> bytes:
    header: dict[str, Any] = scene.header()
    facts = {
        "image": header["image"],
        "models": [model["name"] for model in header["models"]],
        "plans": [fit["plan"] for fit in header["fits"]],
        "directions": [[one["label"] for one in fit["directions"]] for fit in header["fits"]],
        "states": [asdict(state) for state in states],
    }
    return (json.dumps(facts, indent=2) + "\n").encode()
