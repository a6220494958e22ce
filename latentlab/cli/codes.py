"""``latentlab metrics CODES.npz``: disentanglement of anybody's codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from latentlab.cli.console import print_json, print_parts, progress_bar, table
from latentlab.cli.options import Output


def measure_codes_of(
    context: typer.Context, path: Path, only: Sequence[str], output: Output
) -> None:
    """Score the codes of a file against its factors, save and print it."""
    from latentlab.machine.files import check_folder
    from latentlab.recipes.codes import analyze_codes
    from latentlab.results.folders import RUNS_FOLDER

    check_folder(output.out or RUNS_FOLDER)
    with progress_bar(quiet=output.quiet, shorten="pass --only mig,modularity") as progress:
        saved = analyze_codes(
            path, only=only, folder=output.out, command_line=context.obj, progress=progress
        )
    facts = saved.printed()
    if output.json:
        print_json(facts)
    elif not output.quiet:
        print_parts(_summarize(facts))
        print(*facts["files"], sep="\n")


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
    rows = [
        (
            name,
            _number(one["value"]),
            "–" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}",
            _number(one["rotated"]),
            _number(one["shuffled"]),
        )
        for name, one in facts["metrics"].items()
    ]
    headings = ("metric", "value", "95 % interval", "axes rotated", "factors shuffled")
    how = facts["protocol"]
    lines = [
        f"{facts['model']}: {how['rows']:,} of {facts['n_images']:,} rows",
        table(rows, headings),
        "axes rotated: the same codes turned at random, which no disentanglement survives",
        *(f"{name}: {one['note']}" for name, one in facts["metrics"].items() if one["note"]),
        *(f"left out {name}: {reason}" for name, reason in facts["skipped"]["metrics"].items()),
    ]
    if how["constant_factors"]:
        lines.append(f"factors that never vary, left out: {', '.join(how['constant_factors'])}")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
