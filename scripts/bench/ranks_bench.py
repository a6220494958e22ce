"""``latentlab encode`` by two processes with one thread each against one process with two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from measuring import time_in_turn
from report import Options, Row, Say, Table, new_table
from sources import PHOTOS, copy_photos, model_of

_WAYS = {"one": "1 process, 2 threads", "two": "2 processes (gloo), 1 thread each"}
_THREADS = 2


def measure(options: Options, say: Say) -> Row:
    """Return wall times of encoding the same photos both ways, start-up included."""
    if not PHOTOS.is_dir():
        return {"skipped": f"no photos at {PHOTOS}"}
    say(f"{options.rank_photos} photos by one process and by two")
    source = model_of(options)
    with tempfile.TemporaryDirectory() as place:
        total = copy_photos(Path(place) / "photos", options.rank_photos)
        encode = partial(_encode, source, Path(place), options.size, count())
        jobs = {"one": partial(encode, 1), "two": partial(encode, 2)}
        timings = time_in_turn(jobs, options.rank_rounds, warm_up=False)
    seconds = {name: timing.median for name, timing in timings.items()}
    bare = {name: timing.result["seconds"] for name, timing in timings.items()}
    return {
        "model": Path(source).name,
        "size": options.size,
        "pictures": total,
        "seconds": seconds,
        "all_seconds": {name: timing.seconds for name, timing in timings.items()},
        "filling_seconds": bare,
        "ratio": seconds["one"] / seconds["two"],
        "filling_ratio": bare["one"] / bare["two"],
    }


def _encode(source: str, place: Path, size: int, numbers: Iterator[int], world: int) -> Any:
    """Return the report of processes that fill a new store and share the threads."""
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    launcher = ranks if world > 1 else []
    paths = [str(place / "photos"), "--out", str(place / f"store-{next(numbers)}")]
    settings = f"--size {size} --per-shard 10 --workers 1 --json --device cpu".split()
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "latentlab", "encode", *paths, "-m", source, *settings],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(_THREADS // world)},
    )
    return json.loads(done.stdout)


def tables(row: Row) -> Table:
    filling, lines = row["filling_seconds"], []
    for name, way in _WAYS.items():
        rate, speed = row["pictures"] / filling[name], filling["one"] / filling[name]
        lines.append((way, f"{row['seconds'][name]:.1f}", f"{rate:.1f}", f"{speed:.2f}"))
    title = "encode, {pictures} photos, {model} at {size} px".format_map(row)
    headings = ("way", "seconds, start-up included", "images/s, without it", "speed")
    return new_table(title, headings, lines)
