"""Images along each direction, decoded before they are looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import UsageError
from latentlab.explorer.pictures import to_jpeg
from latentlab.explorer.state import State

if TYPE_CHECKING:
    from latentlab.explorer.scenes import Scene
    from latentlab.latents import Progress

ALPHAS = tuple(half / 2 for half in range(-8, 9))
"""Steps along a direction at which there is an image."""
MOST_BYTES = 40_000_000
"""Of all images of a page."""


def write_frames(scene: Scene, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write an image for each direction and step; return their part of ``scene.json``.

    They are JPEG files, ``frames/<model>/<direction>-<step>.jpg`` counted from 0. All directions
    share the image at step 0, ``frames/<model>/start.jpg``.

    Raises
    ------
    UsageError : the images have more than 40 MB.
    """
    count = len(scene.fits[0].directions.labels)
    places = [(k, step) for k in range(count) for step, alpha in enumerate(ALPHAS) if alpha]
    written = _write(scene, folder, "start", State())
    for done, (k, step) in enumerate(places):
        progress("decoding images", done, len(places))
        state = State((*[0.0] * k, ALPHAS[step]))
        written += _write(scene, folder, f"{k}-{step}", state)
        if written > MOST_BYTES:
            raise UsageError(
                f"images of more than {MOST_BYTES / 1e6:.0f} MB, of {count} directions",
                "fewer or smaller ones",
                "lower --size",
            )
    models: list[dict[str, Any]] = [{} for _ in scene.subjects]
    return {
        "engine": "frames",
        "models": models,
        "frames": {"alphas": list(ALPHAS), "bytes": written},
    }


def _write(scene: Scene, folder: Path, name: str, state: State) -> int:
    """Write the images of a state in each model; return how many bytes they have."""
    written = 0
    for index, pixels in enumerate(scene.decode(state)):
        path = folder / f"frames/{index}/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        written += path.write_bytes(to_jpeg(pixels))
    return written
