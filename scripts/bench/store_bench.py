"""``latentlab encode`` against the bare model, and as the number of images grows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from measuring import (
    Interlude,
    exponent_of,
    in_own_process,
    peak_of,
    time_in_turn,
    timed,
    waited_for,
)
from PIL import Image
from report import Options, Row, Say, Table, at_least, at_most, new_table, table_of
from sources import PHOTOS, copy_photos, load, model_of, run_half

from latentlab import LatentVAE, open_store
from latentlab.encoding.batches import batch_size
from latentlab.encoding.precision import for_data_set
from latentlab.images.reading import read_image
from latentlab.machine.files import open_durably
from latentlab.store.filling import Filled, encode_folder
from latentlab.store.reading import Store
from latentlab.store.shards import write_shard

SMALL = 64
"""Side in pixels of the images in growing stores."""
_DIFFERENT = 100
_IN_ONE_FOLDER = 500
_BATCH = 256
_BETWEEN = 50
"""Images after which the model alone encodes the same ones."""


def measure(options: Options, say: Say) -> Row:
    throughput = None
    if PHOTOS.is_dir():
        say(f"stores of {options.photos:,} photos")
        vae = for_data_set(load(model_of(options), options.device))
        throughput = _measure_throughput(vae, options)
    say(f"stores of up to {max(options.counts):,} small images")
    return {"throughput": throughput, "growth": _measure_growth(options.counts)}


def _measure_throughput(vae: LatentVAE, options: Options) -> Row:
    """Return images/s of filling a store, of the model alone meanwhile, of reading the store."""
    read = partial(read_image, size=options.size, multiple=vae.spec.multiple)
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place) / "photos"
        total = copy_photos(photos, options.photos)
        pixels = torch.stack([read(path).pixels for path in sorted(photos.iterdir())])
        batches = pixels.split(batch_size(vae, options.size, options.size))
        run_half(vae, "encode", batches[0])
        stores = [Path(place) / f"store-{number}" for number in range(options.rounds)]
        fill = partial(encode_folder, vae, photos, size=options.size)
        turns = [_fill_beside_model(vae, partial(fill, out=one), batches) for one in stores]
        disk = _measure_disk(open_store(stores[0]), Path(place), options.rounds)
    ratios = sorted(model / store for store, model in turns)
    store, model = (median(seconds) for seconds in zip(*turns, strict=True))
    return {
        "model": vae.spec.name,
        "size": options.size,
        "dtype": str(vae.dtype).removeprefix("torch."),
        "pictures": total,
        "store_per_second": total / store,
        "model_per_second": total / model,
        "ratio": median(ratios),
        "all_ratios": ratios,
        **disk,
    }


def _fill_beside_model(
    vae: LatentVAE, fill: partial[Filled], batches: Sequence[torch.Tensor]
) -> tuple[float, float]:
    """Return seconds of filling a store, and of the model alone on its batches meanwhile."""
    waiting = [*batches]  # meanwhile the workers continue only until their pipes are full

    def catch_up(stage: str, done: int, total: int) -> None:
        while stage == "encoding" and sum(map(len, waiting)) > total - done:
            run_half(vae, "encode", waiting.pop(0))

    between = Interlude(catch_up, _BETWEEN, before=waited_for(lambda: None, vae.device.type))
    store, _ = between.time(partial(fill, progress=between))
    rest, _ = timed(lambda: [run_half(vae, "encode", batch) for batch in waiting])
    return store, sum(between.seconds) + rest


def _measure_disk(store: Store, place: Path, rounds: int) -> Row:
    """Return bytes/s of reading a store and of writing a shard to disk, and of plain bytes."""
    shards = [path for path in store.files() if path.suffix == ".safetensors"]
    content = shards[0].read_bytes()
    rows = next(store.batches(store.manifest.per_shard)).half()
    latents, lines = {store.shape: rows}, [{"path": str(number)} for number in range(len(rows))]
    target = place / "shard"
    target.mkdir()

    def write_plain() -> None:
        with open_durably(target / "bytes") as file:
            file.write(content)

    jobs = {
        "read": lambda: sum(map(len, store.batches(_BATCH))),
        "plain_read": lambda: sum(len(path.read_bytes()) for path in shards),
        "write": lambda: write_shard(target, 0, latents, lines).bytes,
        "plain_write": write_plain,
    }
    total = sum(path.stat().st_size for path in shards)
    rates = {
        f"{name}_bytes_per_second": (len(content) if "write" in name else total) / timing.median
        for name, timing in time_in_turn(jobs, rounds).items()
    }
    return {"bytes_per_latent": total / len(store), **rates}


def _measure_growth(counts: Sequence[int]) -> Row:
    """Return time and peak memory of stores of more and more small images, and the exponent."""
    rows = [in_own_process(_fill_with_small, count) for count in counts]
    seconds = [row["seconds"] for row in rows]
    # Between the two largest: the fixed cost of a run would make the others look better.
    return {
        "rows": rows,
        "exponent": exponent_of(counts[-2:], seconds[-2:]),
        "memory_ratio": rows[-1]["peak_bytes"] / rows[0]["peak_bytes"],
    }


def _fill_with_small(count: int) -> Row:
    """Return the time and the peak memory, without workers, of this process filling a store."""
    # The model takes next to no time here; the store is measured.
    torch.set_num_threads(1)
    vae = load("linear")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        _write_images(folder, count)
        job = partial(encode_folder, vae, folder, Path(place) / "store", size=SMALL)
        seconds, (before, growth) = timed(partial(peak_of, job))
    memory = {"peak_bytes": before + growth, "growth_bytes": growth}
    return {"pictures": count, "seconds": seconds, **memory}


def _write_images(folder: Path, count: int) -> None:
    """Fill a folder with links to a hundred different small images."""
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // _IN_ONE_FOLDER:04d}" / f"{number:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < _DIFFERENT:
            levels = generator.integers(0, 256, (SMALL, SMALL, 3), dtype=np.uint8)
            Image.fromarray(levels).save(path)
        else:
            os.link(folder / "0000" / f"{number % _DIFFERENT:08d}.png", path)


def targets(report: Row) -> Iterator[Row]:
    growth, throughput = report["growth"], report["throughput"]
    yield at_most("store: exponent of time in the images", growth["exponent"], 1.05)
    yield at_most("store: peak memory, most / fewest", growth["memory_ratio"], 1.1)
    if throughput:
        yield at_least("store: images/s over the model's own", throughput["ratio"], 0.95)


def tables(report: Row) -> Iterator[Table]:
    """Yield what was measured: a store of photos, and stores that grow."""
    if report["throughput"]:
        yield _throughput_table(report["throughput"])
    yield table_of(
        f"Stores of ever more images, linear at {SMALL} px",
        report["growth"]["rows"],
        ("images", "{pictures:,}"),
        ("images/s", lambda row: f"{row['pictures'] / row['seconds']:.1f}"),
        ("seconds", "{seconds:.1f}"),
        ("peak MB", lambda row: f"{row['peak_bytes'] / 1e6:.0f}"),
    )


def _throughput_table(row: Row) -> Table:
    low, high = row["all_ratios"][0], row["all_ratios"][-1]
    paired = f"{row['ratio']:.1%}, {low:.0%} to {high:.0%}, of the model meanwhile"
    store = f"{row['store_per_second']:.1f} ({paired})"
    lines = [
        (f"the model alone, {row['dtype']}", f"{row['model_per_second']:.1f}", ""),
        ("latentlab encode: read, decode, encode, write", store, ""),
    ]
    disk = {
        "reading the store": "read",
        "reading its files as plain bytes": "plain_read",
        "writing a shard, until it is on the disk": "write",
        "writing its plain bytes likewise": "plain_write",
    }
    for what, name in disk.items():
        rate = row[f"{name}_bytes_per_second"]
        lines.append((what, f"{rate / row['bytes_per_latent']:,.0f}", f"{rate / 1e6:,.0f}"))
    title = "A store of {pictures:,} photos, {model} at {size} px".format_map(row)
    return new_table(title, ("what", "latents/s", "MB/s"), lines)
