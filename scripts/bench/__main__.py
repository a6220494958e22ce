"""``python scripts/bench``: latentlab beside what one would write without it, in one run.

Everything that is compared takes turns in the same process, so a busy machine slows both sides
of a ratio; figures of the whole are best taken on a quiet one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import latentlab  # noqa: F401 (before torch, so that threads wait as those of commands do)

# isort: split
import torch
from measuring import timed
from report import Options, Report, describe_machine, describe_run, target_table
from rich.console import Console
from rich.markdown import Markdown

NAMES = (
    "whole,models,pca,stream,nulls,vae,job,jacobian,gif,store,stats,metrics,ranks,start,explorer,"
    "smallest,busy,overhead"
)
SECTIONS = {name: import_module(f"{name}_bench") for name in NAMES.split(",")}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _shape(text: str) -> tuple[int, int]:
    rows, columns = map(int, text.split("x"))
    return rows, columns


def _shapes(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(map(_shape, text.split(",")))


def _sections(text: str) -> set[str]:
    chosen = set() if text == "none" else set(text.split(","))
    if not chosen <= SECTIONS.keys():
        raise argparse.ArgumentTypeError(f"expected none or some of {NAMES}")
    return chosen


_PCA = "512x65536,256x4096,256x65536,256x262144,1024x4096,1024x65536,1024x262144,4096x4096"
_GROWING = "1000x1024,10000x1024,100000x1024"
SIZES: dict[str, tuple[Callable[[str], Any], str, str, str]] = {
    "shapes": (_shapes, f"{_PCA},4096x65536", "256x16384", "samples of the PCA"),
    "null-shapes": (_shapes, "256x32768", "256x16384", "samples of parallel analysis"),
    "size": (int, "256", "64", "side of images in pixels"),
    "flux-sizes": (_numbers, "256,512", "64", "sides of images for FLUX.1's architecture"),
    "rounds": (int, "5", "2", "rounds of each job"),
    "samples": (int, "256", "16", "samples of the whole job"),
    "busy-samples": (int, "24", "4", "samples of the runs at once"),
    "overhead-samples": (int, "128", "8", "samples of the job that is compared with its model"),
    "components": (int, "5", "2", "components of the whole job"),
    "steps": (int, "16", "5", "frames for each component"),
    "photos": (int, "200", "16", "photos of the store"),
    "counts": (_numbers, "1000,10000,100000", "200,1000", "images of growing stores"),
    "metric-photos": (
        _numbers,
        "64,100",
        "3,6",
        "photos of all metrics, and of those of all images",
    ),
    "latents": (int, "100000", "512", "latents of store stats"),
    "rank-photos": (int, "200", "16", "photos encoded by one process and by two"),
    "rank-rounds": (int, "5", "1", "rounds of these"),
    "stream-shape": (_shape, "100000x4096", "4000x512", "rows of streaming PCA"),
    "stream-growing": (_shapes, _GROWING, "1000x128,4000x128", "growing rows of streaming PCA"),
}
"""Option → type, default, default with ``--quick`` (whose figures mean nothing), help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and write the files that were asked for, section by section."""
    options = _parse(arguments)
    console = Console(width=None if os.isatty(1) else 130)
    report = Report.read(SECTIONS, options.json)
    chosen = [name for name in SECTIONS if name in options.only]
    for number, name in enumerate(chosen, 1):
        console.print(f"{number} of {len(chosen)}: {name}", style="bold")
        report.sections[name] = _measure(name, options, console)
        for table in report.tables(name):
            console.print(Markdown(table))
        report.write(options.json, options.markdown)
    if report.targets:
        console.print(Markdown(target_table(report.targets)))
    report.write(options.json, options.markdown)
    for path in filter(None, (options.json, options.markdown)):
        console.print(f"figures in {path}")


def _measure(name: str, options: Options, console: Console) -> dict[str, Any]:
    """Return a section's figures with when, where and in how many seconds they were measured."""
    run = {**describe_run(), "quick": options.quick, "rounds": options.rounds}
    busy = ": others are running, figures are noisy" if run["load_average"] > 0.5 else ""
    where = f"{describe_machine(run)}; load average {run['load_average']}{busy}"
    console.print(where, style="dim")

    def say(text: str) -> None:
        console.print(f"{text} …", style="dim")

    seconds, figures = timed(lambda: SECTIONS[name].measure(options, say))
    if "skipped" in figures:
        console.print(f"{name} skipped: {figures['skipped']}")
    return {"run": {**run, "seconds": seconds}, "figures": figures}


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python scripts/bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="run everything on small sizes, in two rounds")
    add("--only", type=_sections, default=NAMES, help=f"some of {NAMES}; or none")
    add("--json", type=Path, metavar="FILE", help="add all figures to those in this file")
    add("--markdown", type=Path, metavar="FILE", help="write tables here, and JSON beside it")
    add("--model", help="name, folder or file that load_vae takes (default: ../shared's taef2)")
    # Not MPS, which latentlab would take by itself: it has no ceiling here.
    found = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=found, help=f"of models, whole and store: cpu or cuda (here {found})")
    add("--compile", action="store_true", help="measure models once more, compiled: minutes")
    add("--no-memory", dest="memory", action="store_false", help="do not measure peak memory")
    for name, (kind, full, quick, what) in SIZES.items():
        add(f"--{name}", type=kind, help=f"{what} (default {full}; quick {quick})")
    options = parser.parse_args(arguments)
    if options.markdown and not options.json:
        options.json = options.markdown.with_suffix(".json")
    for name, (kind, full, quick, _) in SIZES.items():
        name = name.replace("-", "_")
        if getattr(options, name) is None:
            setattr(options, name, kind(quick if options.quick else full))
    return options


if __name__ == "__main__":
    main()
