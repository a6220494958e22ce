"""``python scripts/bench``: latentlab beside what one would write without it, in one run.

Everything that is compared takes turns in the same process, so a busy machine slows both sides
of a ratio; figures of the whole are best taken on a quiet one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_tables import target_table
from machine import describe_run
from nulls_bench import SHAPES as NULL_SHAPES
from pca_bench import SHAPES
from report import (
    Section,
    read_report,
    tables_of,
    targets_of,
    to_markdown,
    write_report,
    write_whole,
)
from rich.console import Console
from sections import SECTIONS
from store_bench import COUNTS, QUICK_COUNTS
from stream_bench import GROWING
from stream_bench import SHAPE as STREAM_SHAPE

import latentlab  # noqa: F401  (before torch has a tensor, for its large pages)

NAMES = tuple(section.name for section in SECTIONS)
QUICK_SHAPES = ((256, 16_384),)
FULL: dict[str, Any] = {
    "rounds": 5,
    "shapes": SHAPES,
    "null_shapes": NULL_SHAPES,
    "size": 256,
    "flux_sizes": (256, 512),
    "samples": 256,
    "components": 5,
    "steps": 16,
    "photos": 200,
    "counts": COUNTS,
    "rank_photos": 200,
    "rank_rounds": 5,
    "stream_shape": STREAM_SHAPE,
    "stream_growing": GROWING,
}
QUICK: dict[str, Any] = {
    "rounds": 2,
    "shapes": QUICK_SHAPES,
    "null_shapes": QUICK_SHAPES,
    "size": 64,
    "flux_sizes": (64,),
    "samples": 16,
    "components": 2,
    "steps": 5,
    "photos": 16,
    "counts": QUICK_COUNTS,
    "rank_photos": 16,
    "rank_rounds": 1,
    "stream_shape": (4_000, 512),
    "stream_growing": ((1_000, 128), (4_000, 128)),
}
"""Whether everything runs, in a minute or two; the figures say nothing."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and write the files that were asked for, section by section."""
    options = _parse(arguments)
    console = Console(width=None if os.isatty(1) else 130)
    report = read_report(options.json)
    chosen = [section for section in SECTIONS if section.name in options.only]
    for number, section in enumerate(chosen, 1):
        console.print(f"{number} of {len(chosen)}: {section.name}", style="bold")
        report["sections"][section.name] = _measure(section, options, console)
        for table in tables_of(section, report):
            console.print(table)
        _write(options, report)
    targets = [target for section in SECTIONS for target in targets_of(section, report)]
    if targets:
        console.print(target_table(targets))
    _write(options, report)
    for path in (options.json, options.markdown):
        if path:
            console.print(f"figures in {path}")


def _measure(section: Section, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return a section's figures with when, where and in how many seconds they were measured."""
    run = {**describe_run(), "quick": options.quick, "rounds": options.rounds}
    console.print(_headline(run), style="dim")
    start = time.perf_counter()
    figures = section.measure(options, lambda text: console.print(f"{text} …", style="dim"))
    if "skipped" in figures:
        console.print(f"{section.name} skipped: {figures['skipped']}")
    return {"run": {**run, "seconds": time.perf_counter() - start}, "figures": figures}


def _write(options: argparse.Namespace, report: dict[str, Any]) -> None:
    if options.json:
        write_report(options.json, report, SECTIONS)
    if options.markdown:
        write_whole(options.markdown, to_markdown(report, SECTIONS, target_table))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python scripts/bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="everything on small sizes, two rounds")
    add("--only", type=_sections, default=set(NAMES), help=f"some of {','.join(NAMES)}; or none")
    add("--json", type=Path, metavar="FILE", help="keep all figures there, with earlier ones")
    add("--markdown", type=Path, metavar="FILE", help="write them there; JSON goes beside it")
    add("--model", help="name, folder or file that load_vae takes (default: ../shared's taef2)")
    add("--device", help="of models, whole and store: cpu or cuda (default: cuda if there is one)")
    add("--compile", action="store_true", help="models once more as --compile runs them: minutes")
    add("--shapes", type=_shapes, help="samples of the PCA, such as 512x65536,1024x65536")
    add("--null-shapes", type=_shapes, help="samples of parallel analysis")
    add("--size", type=int, help="side of the images in pixels (default 256; quick 64)")
    add("--flux-sizes", type=_numbers, help="those of FLUX.1's architecture (default 256,512)")
    add("--rounds", type=int, help="turns of each job (default 5; quick 2)")
    add("--samples", type=int, help="samples of the whole job (default 256; quick 16)")
    add("--components", type=int, help="components of the whole job (default 5; quick 2)")
    add("--steps", type=int, help="frames of a component (default 16; quick 5)")
    add("--photos", type=int, help="photos of the store (default 200; quick 16)")
    add("--counts", type=_numbers, help="images of growing stores, such as 1000,100000")
    add("--rank-photos", type=int, help="photos for one process and for two (default 200)")
    add("--rank-rounds", type=int, help="turns of these (default 5; quick 1)")
    add("--stream-shape", type=_shape, help="rows of streaming PCA, such as 100000x4096")
    add("--stream-growing", type=_shapes, help="rows of streaming PCA as they grow")
    add("--no-memory", dest="memory", action="store_false", help="leave peak memory out")
    options = parser.parse_args(arguments)
    if options.markdown and not options.json:
        options.json = options.markdown.with_suffix(".json")
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.device = options.device or _best_device()
    return options


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _sections(text: str) -> set[str]:
    chosen = set() if text == "none" else set(text.split(","))
    if not chosen <= set(NAMES):
        raise argparse.ArgumentTypeError(f"expected none or some of {','.join(NAMES)}")
    return chosen


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _shapes(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(map(_shape, text.split(",")))


def _shape(text: str) -> tuple[int, int]:
    try:
        rows, columns = map(int, text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError("expected shapes such as 512x65536") from error
    return rows, columns


def _headline(run: dict[str, Any]) -> str:
    machine = run["machine"]
    busy = run["load_average"] > 0.5
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{run['threads']} threads, torch {run['versions']['torch']}, "
        f"load average {run['load_average']}"
        + (": other programs are running, figures are noisy" if busy else "")
    )


if __name__ == "__main__":
    main()
