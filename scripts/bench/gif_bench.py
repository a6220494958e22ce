"""Writing an animated GIF against imageio's default: seconds, bytes and PSNR."""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from imageio import mimsave
from measuring import time_in_turn, ways_of
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from report import Options, Row, Say, Table, table_of
from sources import IMAGE

from latentlab.figures.animation import write_animation
from latentlab.images.arrays import from_uint8, to_uint8
from latentlab.images.reading import read_image
from latentlab.metrics.fidelity import psnr
from latentlab.neighborhoods.augment import change_image

FRAMES = 30


def measure(options: Options, say: Say) -> Row:
    shown = moving_frames(options.size, FRAMES)
    with tempfile.TemporaryDirectory() as place:
        paths = {name: Path(place) / f"{name}.gif" for name in ("latentlab", "imageio")}
        jobs = {
            "latentlab": partial(write_animation, paths["latentlab"], shown, ping_pong=False),
            "imageio": partial(mimsave, paths["imageio"], shown, duration=1000 / 12, loop=0),
        }
        ways = ways_of(time_in_turn(jobs, options.rounds))
        for name, path in paths.items():
            ways[name]["bytes"] = path.stat().st_size
            ways[name]["psnr"] = statistics.fmean(frame_psnrs(path, shown))
    named = [{"name": name, **way} for name, way in ways.items()]
    return {"size": options.size, "frames": FRAMES, "ways": named}


def moving_frames(size: int, count: int) -> list[NDArray[np.uint8]]:
    """Return frames (H, W, 3) of an image that is shifted, turned and made brighter."""
    pixels = read_image(IMAGE, size=size, multiple=8).pixels
    time = torch.linspace(-1, 1, count)
    factors = {"shift_x": 0.03 * time, "rotation": 3 * time, "brightness": 1 + 0.2 * time}
    return [to_uint8(frame).numpy() for frame in change_image(pixels, factors)]


def frame_psnrs(path: Path, frames: list[NDArray[np.uint8]]) -> list[float]:
    """Return the PSNR in dB of each frame of a file against the original frame."""
    with Image.open(path) as animation:
        read = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
    pairs = zip(read, frames, strict=True)
    return [psnr(*(from_uint8(torch.from_numpy(levels)) for levels in pair)) for pair in pairs]


def tables(row: Row) -> Table:
    return table_of(
        f"GIF of {row['frames']} frames, {row['size']} px",
        row["ways"],
        ("way", "{name}"),
        ("seconds", "{seconds:.2f}"),
        ("× latentlab", "{ratio:.2f}"),
        ("MB", lambda way: f"{way['bytes'] / 1e6:.2f}"),
        ("PSNR", "{psnr:.1f} dB"),
    )
