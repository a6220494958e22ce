"""`latentlab metrics` against the encodes and decodes that it needs, and `compare` against both."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from measuring import in_own_process, peak_of
from report import Options, Row, Say, Table, at_most, table_of
from sources import BUILT_IN, DEFAULT_MODEL, PHOTOS, copy_photos, load

from latentlab.latents import Posterior
from latentlab.loaders.base import LatentVAE
from latentlab.measures import MEASURES
from latentlab.measures.geometry import Geometry
from latentlab.measures.protocols import PROTOCOLS
from latentlab.recipes.contrasting import analyze_comparison
from latentlab.recipes.evaluating import Question, analyze_metrics

WHOLE = 1000
"""Photos for which the ratio is stated."""
LIMITED = tuple(name for name in MEASURES.names() if MEASURES[name].at_most)
"""Metrics of the first images only, whose cost does not grow with the photos."""
COMPARED = 48
"""Photos of the comparison: its fixed cost is that of a sheet of six."""

Pass = tuple[str, tuple[int, ...], torch.dtype]


def measure(options: Options, say: Say) -> Row:
    if not PHOTOS.is_dir():
        return {"skipped": f"no photos at {PHOTOS}"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        copied = copy_photos(folder, max(options.metric_photos))
        vae = load(BUILT_IN)
        first, each = (min(count, copied) for count in options.metric_photos)
        say(f"metrics of {first} photos, all of them, and of {each} photos, those of all images")
        rows = [
            measure_metrics(vae, folder, first, options.size, ()),
            measure_metrics(vae, folder, each, options.size, of_all_images(vae)),
        ]
        memory: list[Row] = []
        if options.memory:
            say("memory of metrics")
            memory = [peak(folder, count, options.size) for count in (max(2, each // 4), each)]
        say("compare of several models")
        compared = measure_comparison(folder, min(COMPARED, first, each), options.size)
    return {
        "model": vae.spec.name,
        "size": options.size,
        "rows": rows,
        "whole": extrapolated(*rows, WHOLE),
        "memory": memory,
        "compare": compared,
    }


def of_all_images(vae: LatentVAE) -> tuple[str, ...]:
    """Return the metrics that are computed on every image, without labels or downloads."""
    kept, _ = Question().measures(vae)
    return tuple(name for name in kept if name not in LIMITED)


def question_of(count: int, size: int, only: Sequence[str]) -> Question:
    protocol = PROTOCOLS["latentlab-256"]
    return Question(protocol if size == protocol.size else protocol.sized(size), tuple(only), count)


def measure_metrics(
    vae: LatentVAE, folder: Path, count: int, size: int, only: Sequence[str]
) -> Row:
    """Return the time of metrics, and that of the passes through the model that it made."""
    question = question_of(count, size, only)
    with tempfile.TemporaryDirectory() as out, counted_passes() as (passes, products):
        run = partial(analyze_metrics, vae, folder, question, folder=Path(out) / "run")
        total = clocked(run)
    alone = clocked(partial(repeat, vae, passes))
    needed = [a + b for a, b in zip(alone, products, strict=True)]
    return {
        "photos": count,
        "metrics": "all" if not only else "of all images",
        "encodes": sum(n * shape[0] for (half, shape, _), n in passes.items() if half == "encode"),
        "decodes": sum(n * shape[0] for (half, shape, _), n in passes.items() if half == "decode"),
        "seconds": total[0],
        "cpu_seconds": total[1],
        "passes_seconds": alone[0],
        "passes_cpu_seconds": alone[1],
        "products_seconds": products[0],
        "products_cpu_seconds": products[1],
        "ratio": total[0] / needed[0],
        "cpu_ratio": total[1] / needed[1],
    }


def clocked(job: Callable[[], Any]) -> list[float]:
    """Return wall and processor time of a job in seconds."""
    start = time.perf_counter(), time.process_time()
    job()
    return [time.perf_counter() - start[0], time.process_time() - start[1]]


@contextmanager
def counted_passes() -> Iterator[tuple[Counter[Pass], list[float]]]:
    """Count encodes and decodes by shape, and time the products with the decoder's Jacobian."""
    passes: Counter[Pass] = Counter()
    products = [0.0, 0.0]
    encode, decode, columns = LatentVAE.encode, LatentVAE.decode, Geometry.columns

    def counting_encode(vae: LatentVAE, images: torch.Tensor) -> Posterior:
        passes["encode", tuple(images.shape), vae.dtype] += 1
        return encode(vae, images)

    def counting_decode(vae: LatentVAE, latents: torch.Tensor) -> torch.Tensor:
        # Those with gradients are parts of products, which are timed as such.
        passes["decode", tuple(latents.shape), vae.dtype] += torch.is_inference_mode_enabled()
        return decode(vae, latents)

    def timed_columns(one: Geometry, batch: Any) -> Any:
        found: list[Any] = []
        for k, seconds in enumerate(clocked(lambda: found.append(columns(one, batch)))):
            products[k] += seconds
        return found[0]

    with (
        patch.object(LatentVAE, "encode", counting_encode),
        patch.object(LatentVAE, "decode", counting_decode),
        patch.object(Geometry, "columns", timed_columns),
    ):
        yield passes, products


def repeat(vae: LatentVAE, passes: Counter[Pass]) -> None:
    """Encode and decode as often, and in batches of the same shapes, as was counted."""
    with torch.inference_mode():
        for (half, shape, dtype), count in passes.items():
            model = vae if dtype == vae.dtype else vae.cast(dtype)
            run = model.encode if half == "encode" else model.decode
            batch = torch.rand(shape) * 2 - 1
            for _ in range(count):
                run(batch)


def extrapolated(every: Row, each: Row, count: int) -> Row:
    """Return the times for so many photos: those of the first run, and of each further photo."""
    more, found = (count - every["photos"]) / each["photos"], {}
    for kind in ("seconds", "cpu_seconds"):
        names = [kind, f"passes_{kind}", f"products_{kind}"]
        whole, passes, products = (every[name] + more * each[name] for name in names)
        found |= dict(zip(names, (whole, passes, products), strict=True))
        found[f"needed_{kind}"] = passes + products
    return {
        "photos": count,
        **found,
        "ratio": found["seconds"] / found["needed_seconds"],
        "cpu_ratio": found["cpu_seconds"] / found["needed_cpu_seconds"],
    }


def peak(folder: Path, count: int, size: int) -> Row:
    """Return the peak memory of the metrics of all images over so many photos."""
    before, more = in_own_process(_peak, folder, count, size)
    return {"photos": count, "before": before, "peak": before + more}


def _peak(folder: Path, count: int, size: int) -> tuple[int, int]:
    vae = load(BUILT_IN)
    with tempfile.TemporaryDirectory() as out:
        question = question_of(count, size, of_all_images(vae))
        few = question_of(2, size, of_all_images(vae))
        analyze_metrics(vae, folder, few, folder=Path(out) / "first")
        return peak_of(lambda: analyze_metrics(vae, folder, question, folder=Path(out) / "run"))


def measure_comparison(folder: Path, count: int, size: int) -> Row:
    """Return the time of a comparison of models, and that of measuring each of them alone."""
    names = [BUILT_IN, "linear", *([str(DEFAULT_MODEL)] if DEFAULT_MODEL.is_dir() else [])]
    vaes = [load(name) for name in names]
    question = question_of(count, size, [n for n in of_all_images(vaes[1]) if n != "dimension"])
    with tempfile.TemporaryDirectory() as out:
        alone = [
            clocked(partial(analyze_metrics, vae, folder, question, folder=Path(out) / f"{k}"))
            for k, vae in enumerate(vaes)
        ]
        run = partial(analyze_comparison, vaes, folder, question, folder=Path(out) / "all")
        seconds, cpu = clocked(run)
    singles = [sum(one[k] for one in alone) for k in (0, 1)]
    # Figure, sheet and joint intervals cost the same for any number of photos.
    fixed, times = [seconds - singles[0], cpu - singles[1]], WHOLE / count
    return {
        "models": [vae.spec.name for vae in vaes],
        "photos": count,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "alone_seconds": singles[0],
        "alone_cpu_seconds": singles[1],
        "ratio": seconds / singles[0],
        "cpu_ratio": cpu / singles[1],
        "whole_ratio": 1 + fixed[0] / (singles[0] * times),
        "whole_cpu_ratio": 1 + fixed[1] / (singles[1] * times),
    }


def targets(row: Row) -> list[Row]:
    whole, compared, memory = row["whole"], row["compare"], row["memory"]
    found = [
        at_most(f"metrics of {whole['photos']:,} photos / its passes", whole["ratio"], 1.3),
        at_most(
            f"compare of {len(compared['models'])} models, {WHOLE:,} photos / alone",
            compared["whole_ratio"],
            1.1,
        ),
    ]
    if memory:
        growth = memory[1]["peak"] / memory[0]["peak"]
        found.append(at_most("metrics, memory of more photos", growth, 1.15))
    return found


def tables(row: Row) -> list[Table]:
    whole, compared = row["whole"], row["compare"]
    title = f"Metrics of {row['model']} at {row['size']} px, and the model's passes alone"
    return [
        table_of(
            title,
            [*row["rows"], {**whole, "metrics": "all, extrapolated"}],
            ("metrics", "{metrics}"),
            ("photos", "{photos:,}"),
            ("encodes", lambda one: f"{one['encodes']:,}" if "encodes" in one else "–"),
            ("decodes", lambda one: f"{one['decodes']:,}" if "decodes" in one else "–"),
            ("seconds", "{seconds:.1f}"),
            ("passes", "{passes_seconds:.1f}"),
            ("products", "{products_seconds:.1f}"),
            ("ratio", "{ratio:.2f}"),
            ("ratio in processor time", "{cpu_ratio:.2f}"),
        ),
        table_of(
            "Memory of metrics",
            row["memory"],
            ("photos", "{photos:,}"),
            ("before, MB", lambda one: f"{one['before'] / 1e6:.0f}"),
            ("peak, MB", lambda one: f"{one['peak'] / 1e6:.0f}"),
        ),
        table_of(
            "Compare",
            [compared],
            ("models", lambda one: ", ".join(one["models"])),
            ("photos", "{photos:,}"),
            ("seconds", "{seconds:.1f}"),
            ("each alone", "{alone_seconds:.1f}"),
            ("ratio", "{ratio:.2f}"),
            ("ratio in processor time", "{cpu_ratio:.2f}"),
            (f"ratio, {WHOLE:,} photos", "{whole_ratio:.2f}"),
        ),
    ]
