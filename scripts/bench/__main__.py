"""``python scripts/bench``: latentlab beside what one would write without it, in one run.

Everything that is compared takes turns in the same process, so a busy machine slows both sides
of a ratio; figures of the whole are best taken on a quiet one.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_tables import (
    jacobian_table,
    job_table,
    model_table,
    null_table,
    pca_table,
    start_table,
    target_table,
)
from jacobian_bench import jacobian_targets, measure_jacobian
from machine import describe_run
from nulls_bench import SHAPES as NULL_SHAPES
from nulls_bench import measure_nulls, null_targets
from pca_bench import SHAPES, measure_pca, pca_targets
from rich.console import Console
from start_bench import measure_start, start_targets
from store_bench import (
    COUNTS,
    PHOTOS,
    QUICK_COUNTS,
    measure_growth,
    measure_throughput,
    store_table,
    store_targets,
)
from timing import Target
from vae_bench import measure_job, measure_model, vae_targets

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_MODEL = ROOT.parent / "shared" / "models" / "taef2"
SECTIONS = ("pca", "nulls", "vae", "job", "jacobian", "start", "store")
QUICK_SHAPES = ((256, 16_384),)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and write the JSON file that was asked for."""
    options = _parse(arguments)
    console = Console(width=None if os.isatty(1) else 110)
    report: dict[str, Any] = {**describe_run(), "quick": options.quick, "rounds": options.rounds}
    console.print(_headline(report))
    targets: list[Target] = []
    if "pca" in options.only:
        targets += _run_pca(options, report, console)
    if "nulls" in options.only:
        targets += _run_nulls(options, report, console)
    if {"vae", "job"} & options.only:
        targets += _run_model(options, report, console)
    if "jacobian" in options.only:
        targets += _run_jacobian(options, report, console)
    if "start" in options.only:
        report["start"] = measure_start(options.rounds)
        console.print(start_table(report["start"]))
        targets += start_targets(report["start"])
    if "store" in options.only:
        targets += _run_store(options, report, console)
    report["targets"] = [{**asdict(target), "met": target.met} for target in targets]
    if targets:
        console.print(target_table(targets))
    if options.json:
        _write_json(options.json, report)
        console.print(f"figures in {options.json}")


def _run_pca(options: argparse.Namespace, report: dict[str, Any], console: Console) -> list[Target]:
    report["pca"] = []
    for shape in options.shapes:
        console.print(f"exact PCA of {shape[0]}×{shape[1]:,} samples …", style="dim")
        report["pca"].append(measure_pca(shape, options.rounds, memory=options.memory))
    console.print(pca_table(report["pca"]))
    return pca_targets(report["pca"])


def _run_nulls(
    options: argparse.Namespace, report: dict[str, Any], console: Console
) -> list[Target]:
    report["nulls"] = []
    for shape in options.null_shapes:
        console.print(f"parallel analysis of {shape[0]}×{shape[1]:,} samples …", style="dim")
        report["nulls"].append(measure_nulls(shape, options.rounds, memory=options.memory))
    console.print(null_table(report["nulls"]))
    return null_targets(report["nulls"])


def _run_model(
    options: argparse.Namespace, report: dict[str, Any], console: Console
) -> list[Target]:
    source = options.model or DEFAULT_MODEL
    if not options.model and not DEFAULT_MODEL.is_dir():
        report["skipped"] = f"no model at {DEFAULT_MODEL}: give one with --model"
        console.print(f"encode, decode and the whole job skipped: {report['skipped']}")
        return []
    from latentlab import load_vae

    vae = load_vae(str(source), device="cpu", dtype="float32")
    job = None
    report["vae"] = []
    if "vae" in options.only:
        batches = (1, 4) if options.quick else (1, 16)
        report["vae"] = measure_model(vae, options.size, options.rounds, batches=batches)
        console.print(model_table(report["vae"]))
    if "job" in options.only:
        console.print("whole job …", style="dim")
        job = report["job"] = measure_job(
            vae,
            options.size,
            samples=options.samples,
            components=options.components,
            steps=options.steps,
        )
        console.print(job_table(job))
    return vae_targets(report["vae"], job)


def _run_jacobian(
    options: argparse.Namespace, report: dict[str, Any], console: Console
) -> list[Target]:
    from latentlab import load_vae

    source = options.model or (DEFAULT_MODEL if DEFAULT_MODEL.is_dir() else "mini")
    console.print("singular directions of the decoder …", style="dim")
    vae = load_vae(str(source), device="cpu", dtype="float32")
    row = report["jacobian"] = measure_jacobian(vae, options.size)
    console.print(jacobian_table(row))
    return jacobian_targets(row)


def _run_store(
    options: argparse.Namespace, report: dict[str, Any], console: Console
) -> list[Target]:
    from latentlab import load_vae

    throughput = None
    if PHOTOS.is_dir():
        source = options.model or (DEFAULT_MODEL if DEFAULT_MODEL.is_dir() else "mini")
        vae = load_vae(str(source), device="cpu", dtype="float32")
        console.print(f"stores of {options.photos:,} photos …", style="dim")
        throughput = measure_throughput(vae, options.size, options.rounds, options.photos)
    console.print(f"stores of up to {max(options.counts):,} small pictures …", style="dim")
    report["store"] = {"throughput": throughput, "growth": measure_growth(options.counts)}
    console.print(store_table(report["store"]))
    return store_targets(report["store"])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python scripts/bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="small samples, few frames, three rounds")
    add("--only", type=_sections, default=set(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--model", help="name, folder or file that load_vae takes (default: ../shared's taef2)")
    add("--shapes", type=_shapes, help="samples of the PCA, such as 512x65536,1024x65536")
    add("--null-shapes", type=_shapes, help="samples of parallel analysis")
    add("--size", type=int, default=256, help="side of the pictures in pixels")
    add("--rounds", type=int, help="turns of each job (default 5; quick 3)")
    add("--samples", type=int, help="samples of the whole job (default 256; quick 32)")
    add("--components", type=int, help="components of the whole job (default 5; quick 2)")
    add("--steps", type=int, help="frames of a component (default 16; quick 5)")
    add("--photos", type=int, help="photos of the store (default 1000; quick 32)")
    add("--counts", type=_counts, help="pictures of growing stores, such as 1000,100000")
    add("--no-memory", dest="memory", action="store_false", help="leave peak memory out")
    options = parser.parse_args(arguments)
    full = {"rounds": 5, "shapes": SHAPES, "samples": 256, "components": 5, "steps": 16}
    quick = {"rounds": 3, "shapes": QUICK_SHAPES, "samples": 32, "components": 2, "steps": 5}
    full |= {"photos": 1000, "counts": COUNTS}
    quick |= {"photos": 32, "counts": QUICK_COUNTS}
    full["null_shapes"], quick["null_shapes"] = NULL_SHAPES, QUICK_SHAPES
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _sections(text: str) -> set[str]:
    chosen = set(text.split(","))
    if not chosen <= set(SECTIONS):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(SECTIONS)}")
    return chosen


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _shapes(text: str) -> tuple[tuple[int, int], ...]:
    try:
        pairs = [tuple(map(int, shape.split("x"))) for shape in text.split(",")]
        return tuple((rows, columns) for rows, columns in pairs)
    except ValueError as error:
        raise argparse.ArgumentTypeError("expected shapes such as 512x65536") from error


def _headline(report: dict[str, Any]) -> str:
    machine = report["machine"]
    busy = machine["load_average"] > 0.5
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{report['threads']} threads, torch {report['versions']['torch']}, "
        f"load average {machine['load_average']}"
        + (": other programs are running, figures are noisy" if busy else "")
    )


def _write_json(path: Path, report: dict[str, Any]) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(json.dumps(report, indent=1) + "\n")
    unfinished.replace(path)


if __name__ == "__main__":
    main()
