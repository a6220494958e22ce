"""``latentlab encode`` beside the bare model, and as the number of images grows.

As a program it fills one store and prints seconds and peak memory: run in a process of its own.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from bench_tables import new_table
from peak_memory import peak_growth
from rich.table import Table
from timing import Job, Target, time_in_turn, waited_for

if TYPE_CHECKING:
    import torch

    from latentlab.latents import Progress
    from latentlab.loaders import LatentVAE
    from latentlab.store.reading import Store

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
COUNTS = (1_000, 10_000, 100_000)
QUICK_COUNTS = (200, 1_000)
SMALL = 64
"""Side in pixels of the images with which the number of images grows."""
_DIFFERENT = 100
_IN_ONE_FOLDER = 500
_BATCH = 256
_BETWEEN = 50
"""Images of a store after which the model alone encodes the same."""


def measure_throughput(vae: LatentVAE, size: int, rounds: int, images: int) -> dict[str, Any]:
    """Return images/s of filling a store, of the model alone meanwhile, of reading the store."""
    from latentlab.store.reading import open_store

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        total = _copy_photos(folder, images)
        batches = _prepare(vae, folder, size)
        _encode_all(vae, batches[:1])
        turns = []
        for number in range(rounds):
            between = _ModelBetween(vae, batches)
            started = time.perf_counter()
            _fill(vae, folder, Path(place) / f"store-{number}", size, between)
            turns.append((time.perf_counter() - started - between.seconds, between.seconds))
        finished = open_store(Path(place) / "store-0")
        disk = _measure_disk(finished, Path(place), rounds)
    ratios = sorted(model / store for store, model in turns)
    return {
        "model": vae.spec.name,
        "size": size,
        "dtype": str(vae.dtype).removeprefix("torch."),
        "pictures": total,
        "store_per_second": total / statistics.median(store for store, _ in turns),
        "model_per_second": total / statistics.median(model for _, model in turns),
        "ratio": statistics.median(ratios),
        "all_ratios": ratios,
        **disk,
    }


class _ModelBetween:
    """The model alone on a store's batches, a few at a time while the store is being filled.

    Its time is taken off the store's, so that a machine whose speed changes within seconds changes
    both. Workers go on meanwhile only until their pipes are full.
    """

    def __init__(self, vae: LatentVAE, batches: Sequence[torch.Tensor]) -> None:
        self.vae = vae
        self.batches = iter(batches)
        self.encoded = 0
        self.seconds = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Let the model catch up with the store from time to time, as its progress."""
        if stage != "encoding" or (done % _BETWEEN and done < total):
            return
        waited_for(lambda: None, self.vae.device.type)()
        started = time.perf_counter()
        while self.encoded < done:
            images = next(self.batches)
            _encode_all(self.vae, [images])
            self.encoded += len(images)
        self.seconds += time.perf_counter() - started


def _measure_disk(store: Store, place: Path, rounds: int) -> dict[str, float]:
    """Return bytes/s of reading a store and of writing a shard, and of their plain bytes.

    Writing ends when the bytes are on the disk.
    """
    from latentlab.machine.files import open_durably
    from latentlab.store.shards import write_shard

    shards = [path for path in store.files() if path.suffix == ".safetensors"]
    content = shards[0].read_bytes()
    rows = next(store.batches(store.manifest.per_shard)).half()
    latents, lines = {store.shape: rows}, [{"path": str(number)} for number in range(len(rows))]
    target = place / "shard"
    target.mkdir()

    def write_bytes() -> None:
        with open_durably(target / "bytes") as file:
            file.write(content)

    jobs: dict[str, Job] = {
        "read": lambda: sum(map(len, store.batches(_BATCH))),
        "plain_read": lambda: sum(len(path.read_bytes()) for path in shards),
        "write": lambda: write_shard(target, 0, latents, lines).bytes,
        "plain_write": write_bytes,
    }
    seconds = {name: timing.median for name, timing in time_in_turn(jobs, rounds).items()}
    total = sum(path.stat().st_size for path in shards)
    sizes = {name: len(content) if "write" in name else total for name in jobs}
    return {
        "bytes_per_latent": total / len(store),
        **{f"{name}_bytes_per_second": sizes[name] / seconds[name] for name in jobs},
    }


def measure_growth(counts: tuple[int, ...]) -> dict[str, Any]:
    """Return time and peak memory of stores of more and more small images, and the exponent."""
    rows = []
    # One thread: the model is next to nothing here, and what is measured is the store.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for images in counts:
        answer = subprocess.run(
            [sys.executable, __file__, str(images)],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        ).stdout
        rows.append(json.loads(answer))
    # Between the two largest: what a run takes in any case would make the others look better.
    first, last = rows[-2], rows[-1]
    grown = last["pictures"] / first["pictures"]
    return {
        "rows": rows,
        "exponent": math.log(last["seconds"] / first["seconds"]) / math.log(grown),
        "memory_ratio": last["peak_bytes"] / rows[0]["peak_bytes"],
    }


def store_targets(report: dict[str, Any]) -> list[Target]:
    """Return the figures of stores beside their bounds."""
    growth = report["growth"]
    targets = [
        Target("store: exponent of time in the images", growth["exponent"], 1.05, at_least=False),
        Target("store: peak memory, most / fewest", growth["memory_ratio"], 1.1, at_least=False),
    ]
    if report["throughput"]:
        ratio = report["throughput"]["ratio"]
        targets.append(Target("store: images/s over the model's own", ratio, 0.95))
    return targets


def store_tables(report: dict[str, Any]) -> list[Table]:
    """Return what was measured: a store of photos, and stores that grow."""
    found = report["throughput"]
    return [*([_throughput_table(found)] if found else []), _growth_table(report["growth"])]


def _throughput_table(row: dict[str, Any]) -> Table:
    title = f"A store of {row['pictures']:,} photos, {row['model']} at {row['size']} px"
    table = new_table(title, "what", "latents/s", "MB/s")
    table.add_row(f"the model alone, {row['dtype']}", f"{row['model_per_second']:.1f}", "")
    low, high = row["all_ratios"][0], row["all_ratios"][-1]
    paired = f"{row['ratio']:.1%}, {low:.0%} to {high:.0%}, of the model meanwhile"
    store = f"{row['store_per_second']:.1f} ({paired})"
    table.add_row("latentlab encode: read, decode, encode, write", store, "")
    disk = {
        "reading the store": "read",
        "reading its files as plain bytes": "plain_read",
        "writing a shard, until it is on the disk": "write",
        "writing its plain bytes likewise": "plain_write",
    }
    for what, name in disk.items():
        rate = row[f"{name}_bytes_per_second"]
        table.add_row(what, f"{rate / row['bytes_per_latent']:,.0f}", f"{rate / 1e6:,.0f}")
    return table


def _growth_table(growth: dict[str, Any]) -> Table:
    title = f"Stores of ever more images, linear at {SMALL} px"
    table = new_table(title, "pictures", "images/s", "seconds", "peak MB")
    for row in growth["rows"]:
        rate, seconds = f"{row['pictures'] / row['seconds']:.1f}", f"{row['seconds']:.1f}"
        table.add_row(f"{row['pictures']:,}", rate, seconds, f"{row['peak_bytes'] / 1e6:.0f}")
    return table


def _copy_photos(folder: Path, images: int) -> int:
    folder.mkdir()
    chosen = [*islice(sorted(PHOTOS.iterdir()), images)]
    for photo in chosen:
        # No links: a store leaves out those that lead out of its folder.
        shutil.copy(photo, folder)
    return len(chosen)


def _prepare(vae: LatentVAE, folder: Path, size: int) -> list[Any]:
    import torch

    from latentlab.encoding.batches import batch_size
    from latentlab.images.reading import read_image

    multiple = vae.spec.multiple
    pixels = [
        read_image(path, size=size, multiple=multiple).pixels for path in sorted(folder.iterdir())
    ]
    return [*torch.stack(pixels).split(batch_size(vae, size, size))]


def _encode_all(vae: LatentVAE, batches: list[Any]) -> None:
    from latentlab.encoding.encoder import encode_batch

    for images in batches:
        encode_batch(vae, images)


def _fill(
    vae: LatentVAE, folder: Path, out: Path, size: int, progress: Progress | None = None
) -> None:
    from latentlab.store.filling import encode_folder

    encode_folder(vae, folder, out, size=size, progress=progress)


@contextmanager
def _many_images(images: int) -> Iterator[Path]:
    """Yield a folder with so many names of a hundred small images."""
    import numpy as np
    from PIL import Image

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        generator = np.random.default_rng(0)
        for number in range(images):
            inside = folder / f"{number // _IN_ONE_FOLDER:04d}"
            inside.mkdir(parents=True, exist_ok=True)
            path = inside / f"{number:08d}.png"
            if number < _DIFFERENT:
                levels = generator.integers(0, 256, (SMALL, SMALL, 3), dtype=np.uint8)
                Image.fromarray(levels).save(path)
            else:
                first = number % _DIFFERENT
                os.link(folder / "0000" / f"{first:08d}.png", path)
        yield folder


def main(images: int) -> None:
    """Print seconds and peak memory, workers left out, of one store of small images, as JSON."""
    from latentlab import load_vae

    vae = load_vae("linear", device="cpu")
    with _many_images(images) as folder:
        before = psutil.Process().memory_info().rss
        started = time.perf_counter()
        growth = peak_growth(partial(_fill, vae, folder, folder.parent / "store", SMALL))
        seconds = time.perf_counter() - started
    figures = {"seconds": seconds, "peak_bytes": before + growth, "growth_bytes": growth}
    print(json.dumps({"pictures": images, **figures}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
