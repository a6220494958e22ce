"""Runs that fill a store and are killed: a warm process forks children that die as planned.

``python killed_runs.py random|steps IMAGES STORES [KILLS]`` prints a JSON list. Twenty kills, or a
thousand, are affordable because torch is imported only once for all children.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from image_folders import fill, same_files

from latentlab.store.listing import paths_by_shard
from latentlab.store.manifest import read_manifest
from latentlab.store.shards import find_fault, index_path
from latentlab.testing.linear_vae import LinearVAE

KILLS = 20
OPTIONS: dict[str, Any] = {"per_shard": 4, "size": 16, "store_dtype": "float32"}


def in_child(job: Callable[[], Any]) -> int:
    """Start a job in a child process that exits with 0 if it succeeds; return the child's id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            warnings.simplefilter("error")  # there is a warning if a shard is computed again
            job()
            code = 0
        finally:
            os._exit(code)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def faults(store: Path) -> list[str]:
    """Return what is wrong with the shards that have an index."""
    if not (store / "store.json").exists():
        return []
    listed = enumerate(paths_by_shard(store, read_manifest(store)))
    found = [find_fault(store, k, paths) for k, paths in listed if index_path(store, k).exists()]
    return [fault for fault in found if fault]


def killed_at_random(images: Path, stores: Path, wanted: int) -> Iterator[dict[str, Any]]:
    """Kill runs until there are enough kills; resume each store until it is finished."""
    generator = random.Random(0)
    started = time.monotonic()
    assert status_of(in_child(lambda: fill(images, stores / "whole", **OPTIONS))) == 0
    longest = time.monotonic() - started
    kills = 0
    for number in range(10 * wanted):
        store = stores / f"killed-{number}"
        workers = number % 3
        killed, wrong = 0, []
        while True:
            child = in_child(partial(fill, images, store, workers=workers, **OPTIONS))
            if kills < wanted:
                time.sleep(generator.uniform(0, longest))
                os.kill(child, signal.SIGKILL)
            code = status_of(child)
            if code == 0:
                break
            assert code == -signal.SIGKILL, code
            kills, killed = kills + 1, killed + 1
            wrong += faults(store)
        yield {"kills": killed, "same": same_files(store, stores / "whole"), "faults": wrong}
        if kills == wanted:
            return


def killed_at_each_step(images: Path, stores: Path, _: int) -> Iterator[dict[str, Any]]:
    """Die just before each renaming, removal and fsync, one after another."""
    assert status_of(in_child(lambda: fill(images, stores / "whole", **OPTIONS))) == 0
    for step in range(1000):
        store = stores / f"step-{step}"

        code = status_of(in_child(partial(_fill_and_die, step, images, store)))
        wrong = faults(store)
        again = status_of(in_child(partial(fill, images, store, **OPTIONS)))
        yield {
            "kills": int(code != 0),
            "same": again == 0 and same_files(store, stores / "whole"),
            "faults": wrong,
        }
        if code == 0:
            return


def _fill_and_die(step: int, images: Path, store: Path) -> None:
    """Fill a store in a process that dies just before its step-th change of the disk."""
    left = [step]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*arguments, **options)

        return counted

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        setattr(owner, name, wrap(getattr(owner, name)))
    fill(images, store, **OPTIONS)


if __name__ == "__main__":
    ways = {"random": killed_at_random, "steps": killed_at_each_step}
    LinearVAE()
    kills = int(sys.argv[4]) if len(sys.argv) > 4 else KILLS
    found = [*ways[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), kills)]
    json.dump(found, sys.stdout)
