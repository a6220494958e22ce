"""Disentanglement in ``latentlab metrics``: of codes in a file, and of latents of known factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from latentlab.cli.console import print_json, print_parts, progress_bar, table
from latentlab.cli.inputs import check_image
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output

SPRITES = "sprites"
"""The subject that stands for the sprites that latentlab draws."""


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
    _print(saved.printed(), output)


def measure_factors_of(
    context: typer.Context,
    subject: str,
    machine: Machine,
    output: Output,
    **how: Any,
) -> None:
    """Score the latents of images with known factors, save and print it."""
    if subject != SPRITES:
        check_image(subject)
    from latentlab.machine.files import check_folder
    from latentlab.recipes.disentangling import analyze_disentanglement
    from latentlab.results.folders import RUNS_FOLDER

    check_folder(output.out or RUNS_FOLDER)
    vae = machine.load(quiet=output.quiet)
    with progress_bar(quiet=output.quiet, shorten="pass --only mig,modularity") as progress:
        saved = analyze_disentanglement(
            vae,
            subject,
            folder=output.out,
            command_line=context.obj,
            progress=progress,
            **how,
        )
    say_tiling(vae, quiet=output.quiet)
    _print(saved.printed(), output)


def _print(facts: Mapping[str, Any], output: Output) -> None:
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
        *(
            [f"codes: {how['codes']}; factors: {', '.join(how['factors'])}"]
            if "codes" in how
            else []
        ),
        table(rows, headings),
        "axes rotated: the same codes turned at random, which no disentanglement survives",
        "factors shuffled: the same codes with the factors of other rows",
        _describe_settings(how["settings"]),
        *(f"{name}: {one['note']}" for name, one in facts["metrics"].items() if one["note"]),
        *(f"left out {name}: {reason}" for name, reason in facts["skipped"]["metrics"].items()),
    ]
    if how["constant_factors"]:
        lines.append(f"factors that never vary, left out: {', '.join(how['constant_factors'])}")
    return lines


def _describe_settings(how: Mapping[str, int]) -> str:
    """Return the settings that scores depend on, beside those of disentanglement_lib."""
    return (
        f"settings, and in brackets those of disentanglement_lib: {how['train_rows']:,} rows to "
        f"train and {how['test_rows']:,} to test (10,000 and 5,000), {how['bins']} bins (20), "
        f"{how['dci_trees']} trees of DCI (100), {how['votes_train']:,} and {how['votes_test']:,} "
        "votes of FactorVAE and BetaVAE (10,000 and 5,000)"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
