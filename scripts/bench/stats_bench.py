"""``latentlab store stats`` compared with reading the same latents, from disk and from memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from measuring import in_own_process, peak_of, timed
from report import Options, Row, Say, Table, at_most, table_of
from torch import Tensor

from latentlab import open_store
from latentlab.machine.files import read_ahead
from latentlab.store.foreign import open_latents
from latentlab.store.importing import import_latents
from latentlab.store.measuring import has_fast_loops, measure_store
from latentlab.store.reading import Store
from latentlab.store.shards import latents_path

_SHAPE = (16, 32, 32)
_DIFFERENT = 256
_BUFFER = 2**24
_ROUNDS = 3
"""At most: each round reads gigabytes."""


def measure(options: Options, say: Say) -> Row:
    with tempfile.TemporaryDirectory() as place:
        say(f"writing {options.latents:,} latents")
        stores = [_write(Path(place), count) for count in (options.latents // 10, options.latents)]
        growths = [in_own_process(_memory, store) for store in stores] if options.memory else []
        say("reading and measuring them")
        jobs = _measure_jobs(stores[1], min(options.rounds, _ROUNDS))
        size = open_store(stores[1]).bytes
    return {"latents": options.latents, "bytes": size, "jobs": jobs, "growth_bytes": growths}


def _write(place: Path, count: int) -> Path:
    """Write a store of float16 latents: a few different ones, scaled differently each time."""
    generator = np.random.default_rng(0)
    spread = generator.uniform(0.5, 2, (_SHAPE[0], 1, 1))
    few = (generator.standard_normal((_DIFFERENT, *_SHAPE)) * spread).astype(np.float32)
    file, store = place / "latents.npy", place / f"store-{count}"
    values = np.lib.format.open_memmap(file, "w+", np.float16, (count, *_SHAPE))
    for start in range(0, count, _DIFFERENT):
        gains = generator.uniform(0.8, 1.2, (_DIFFERENT, 1, 1, 1)).astype(np.float32)
        values[start : start + _DIFFERENT] = (few * gains)[: count - start]
    del values
    import_latents(open_latents(file, space="model"), store)
    file.unlink()
    return store


def _memory(store: Path) -> int:
    """Return how many bytes the statistics of a store add to a process, once one run is over."""
    opened = open_store(store)
    measure_store(opened)
    return peak_of(partial(measure_store, opened))[1]


def _measure_jobs(folder: Path, rounds: int) -> list[Row]:
    store = open_store(folder)
    files = [path for path in store.files() if path.suffix == ".safetensors"]
    jobs: dict[str, Callable[[], object]] = {
        "plain": partial(_read_plainly, files),
        "reader": lambda: sum(map(len, store.batches(store.manifest.per_shard))),
        "counts": partial(_on_threads, _count, store),
        "products": partial(_on_threads, _multiply, store),
        "torch": partial(measure_store, store, compiled=False),
        "stats": partial(measure_store, store),
    }
    if not has_fast_loops(store):  # it is the next job
        del jobs["torch"]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for cache in ("cold", "warm"):
            for name, job in jobs.items():
                if cache == "cold":
                    _forget(files)
                before = process_time()
                seconds, _ = timed(job)
                found.setdefault((name, cache), []).append((seconds, process_time() - before))
    return [
        {
            "name": name,
            "cache": cache,
            "seconds": median(seconds for seconds, _ in took),
            "processor_seconds": median(busy for _, busy in took),
            "all_seconds": [seconds for seconds, _ in took],
        }
        for (name, cache), took in found.items()
    ]


def _on_threads(job: Callable[[Tensor], object], store: Store) -> None:
    """Call a job for the latents of each shard, a shard on each thread at a time."""
    shape = store.shape
    initializer: Any = partial(torch.set_num_threads, 1)

    def of_shard(shard: int) -> None:
        read_ahead(latents_path(store.folder, shard + 4))
        for latents in store.stored_of(shard, shape, store.manifest.per_shard):
            job(latents)

    with ThreadPoolExecutor(torch.get_num_threads(), initializer=initializer) as pool:
        list(pool.map(of_shard, range(len(store.counts))))


def _count(latents: Tensor) -> None:
    """Count the patterns of each channel: the least that exact percentiles need."""
    for channel in latents.view(torch.uint16).movedim(1, 0):
        torch.bincount(channel.to(torch.int32).flatten())


def _multiply(latents: Tensor) -> None:
    """Multiply the channels in float64: the least that their exact correlation needs."""
    space = torch.empty(8, latents[0, 0].numel(), latents.shape[1], dtype=torch.float64)
    for some in torch.split(latents.flatten(2), len(space)):
        cells = space[: len(some)].copy_(some.float().transpose(1, 2)).flatten(0, 1)
        torch.mm(cells.T, cells)


def _read_plainly(files: Sequence[Path]) -> int:
    """Return the bytes of files, read into one buffer."""
    buffer, total = bytearray(_BUFFER), 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            while read := file.readinto(buffer):
                total += read
    return total


def _forget(files: Sequence[Path]) -> None:
    """Have the system drop files from its cache, where it can be asked to."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def targets(report: Row) -> Iterator[Row]:
    seconds = {(row["name"], row["cache"]): row["seconds"] for row in report["jobs"]}
    ratio = seconds["stats", "cold"] / seconds["plain", "cold"]
    yield at_most("store stats: time over reading the bytes from the disk", ratio, 1.3)
    if report["growth_bytes"]:
        small, large = report["growth_bytes"]
        yield at_most("store stats: memory, of all over a tenth of the latents", large / small, 1.1)


def tables(report: Row) -> Table:
    what = {
        "plain": "reading plain bytes",
        "reader": "reading latents (batches of float32)",
        "counts": "counting patterns alone (torch.bincount)",
        "products": "products of channels alone (torch.mm, float64)",
        "torch": "latentlab store stats without the extra `fast`",
        "stats": "latentlab store stats",
    }
    where = {"cold": "the disk", "warm": "the system's cache"}
    plain = {row["cache"]: row["seconds"] for row in report["jobs"] if row["name"] == "plain"}
    size, threads = report["bytes"] / 1e9, torch.get_num_threads()
    growth = "".join(f"; they add {more / 1e6:.0f} MB" for more in report["growth_bytes"][1:])
    return table_of(
        f"Statistics of {report['latents']:,} latents 16×32×32 in float16, {size:.2f} GB, "
        f"{threads} threads{growth}",
        report["jobs"],
        ("what", lambda row: f"{what[row['name']]}, from {where[row['cache']]}"),
        ("seconds", "{seconds:.1f}"),
        ("of all processors", "{processor_seconds:.1f}"),
        ("all rounds", lambda row: ", ".join(f"{one:.1f}" for one in row["all_seconds"])),
        ("over plain bytes", lambda row: f"{row['seconds'] / plain[row['cache']]:.2f}"),
    )
