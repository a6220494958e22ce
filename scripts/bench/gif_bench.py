"""Writing an animated GIF beside imageio's default: seconds, bytes, and how true it is."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_tables import new_table
from rich.table import Table
from timing import Target, time_in_turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAMES = 30
IMAGE = "sample:flower"


def measure_gif(size: int, rounds: int, *, frames: int = FRAMES) -> dict[str, Any]:
    """Return seconds, bytes and PSNR of both for an image that moves and grows brighter."""
    import imageio

    from latentlab.figures.animation import write_animation

    shown = moving_frames(size, frames)
    with tempfile.TemporaryDirectory() as place:
        paths = {name: Path(place) / f"{name}.gif" for name in ("latentlab", "imageio")}
        jobs = {
            "latentlab": partial(write_animation, paths["latentlab"], shown, ping_pong=False),
            "imageio": partial(
                imageio.mimsave, paths["imageio"], shown, duration=1000 / 12, loop=0
            ),
        }
        timings = time_in_turn(jobs, rounds)
        ours = timings["latentlab"].median
        ways = [
            {
                "name": name,
                "seconds": timing.median,
                "all_seconds": timing.seconds,
                "ratio": timing.median / ours,
                "bytes": paths[name].stat().st_size,
                "psnr": statistics.fmean(frame_psnrs(paths[name], shown)),
            }
            for name, timing in timings.items()
        ]
    return {"size": size, "frames": frames, "ways": ways}


def gif_targets(row: Mapping[str, Any]) -> list[Target]:
    """Return nothing: no bound was set."""
    return []


def gif_tables(row: Mapping[str, Any]) -> list[Table]:
    """Return one line for each way."""
    title = f"GIF of {row['frames']} frames, {row['size']} px"
    table = new_table(title, "way", "seconds", "× latentlab", "MB", "PSNR")
    for way in row["ways"]:
        size, quality = f"{way['bytes'] / 1e6:.2f}", f"{way['psnr']:.1f} dB"
        table.add_row(way["name"], f"{way['seconds']:.2f}", f"{way['ratio']:.2f}", size, quality)
    return [table]


def moving_frames(size: int, count: int) -> list[NDArray[np.uint8]]:
    """Return frames (H, W, 3) of an image that is shifted, turned and made brighter."""
    import torch

    from latentlab.images.arrays import to_uint8
    from latentlab.images.reading import read_image
    from latentlab.neighborhoods.augment import change_image

    pixels = read_image(IMAGE, size=size, multiple=8).pixels
    time = torch.linspace(-1, 1, count)
    factors = {"shift_x": 0.03 * time, "rotation": 3 * time, "brightness": 1 + 0.2 * time}
    return [to_uint8(frame).numpy() for frame in change_image(pixels, factors)]


def frame_psnrs(path: Path, frames: list[NDArray[np.uint8]]) -> list[float]:
    """Return the PSNR in dB of each frame of a file against the frame that was to be shown."""
    import numpy as np
    from PIL import Image, ImageSequence

    with Image.open(path) as animation:
        read = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
    errors = [
        float(np.square(found.astype(float) - wanted).mean())
        for found, wanted in zip(read, frames, strict=True)
    ]
    return [
        float("inf") if error == 0 else 10 * float(np.log10(255**2 / error)) for error in errors
    ]
