"""``latentlab encode`` by two processes with one thread each beside one process with two."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from bench_tables import new_table
from rich.table import Table
from timing import Target, time_in_turn

WORLD = 2
_PER_SHARD = 10


def measure_ranks(
    source: str, photos: Path, size: int, rounds: int, *, images: int
) -> dict[str, Any]:
    """Return wall times of encoding the same photos both ways, start-up included.

    Parameters
    ----------
    source : str, model
    photos : folder
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        folder.mkdir()
        for photo in islice(sorted(photos.iterdir()), images):
            shutil.copy(photo, folder)
        total = len([*folder.iterdir()])
        stores = (Path(place) / f"store-{number}" for number in count())
        jobs = {
            "one": lambda: run_ranks(encoding(source, folder, next(stores), size), world=1),
            "two": lambda: run_ranks(encoding(source, folder, next(stores), size), world=WORLD),
        }
        timings = time_in_turn(jobs, rounds, fewer=dict.fromkeys(jobs, rounds))
    seconds = {name: timing.median for name, timing in timings.items()}
    bare = {name: timing.result["seconds"] for name, timing in timings.items()}
    return {
        "model": Path(source).name,
        "size": size,
        "pictures": total,
        "seconds": seconds,
        "all_seconds": {name: timing.seconds for name, timing in timings.items()},
        "filling_seconds": bare,
        "ratio": seconds["one"] / seconds["two"],
        "filling_ratio": bare["one"] / bare["two"],
    }


def encoding(source: str, folder: Path, store: Path, size: int) -> list[str]:
    """Return the arguments that fill a new store."""
    options = ["--size", str(size), "--per-shard", str(_PER_SHARD), "--workers", "1", "--json"]
    return ["-m", "latentlab", "encode", str(folder), "--out", str(store), "-m", source, *options]


def run_ranks(arguments: Sequence[str], *, world: int) -> dict[str, Any]:
    """Return what the command says at its end, run by so many processes that share two threads."""
    ranks = ("--nproc-per-node", str(world), "--master-port", str(_free_port()))
    launcher = ["-m", "torch.distributed.run", *ranks] if world > 1 else []
    done = subprocess.run(
        [sys.executable, *launcher, *arguments, "--device", "cpu"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(WORLD // world)},
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def ranks_targets(row: Mapping[str, Any]) -> list[Target]:
    """Return nothing: no bound was set."""
    return []


def ranks_tables(row: Mapping[str, Any]) -> list[Table]:
    """Return one line for each way."""
    title = f"encode, {row['pictures']} photos, {row['model']} at {row['size']} px"
    headings = ("seconds, start-up included", "images/s, without it", "speed")
    table = new_table(title, "way", *headings)
    ways = {"one": "1 process, 2 threads", "two": "2 processes (gloo), 1 thread each"}
    for name, way in ways.items():
        filling = row["filling_seconds"]
        table.add_row(
            way,
            f"{row['seconds'][name]:.1f}",
            f"{row['pictures'] / filling[name]:.1f}",
            f"{filling['one'] / filling[name]:.2f}",
        )
    return [table]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
