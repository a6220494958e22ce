"""``latentlab pca``: a picture's neighborhood, its principal components, and their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.analysis import Request, analyse, check
from latentlab.cli.console import print_json, progress_bar, shown, tiling
from latentlab.cli.defaults import DEFAULT_NEIGHBORHOOD
from latentlab.cli.machine import Machine
from latentlab.cli.store_pca import analyse_store, refuse_picture_options


def pca(
    context: typer.Context,
    image: Annotated[
        str, typer.Argument(help="A picture, sample:flower, sample:china, or a store of latents.")
    ],
    model: options.Model = None,
    size: options.Size = None,
    neighborhood: options.NeighborhoodName = DEFAULT_NEIGHBORHOOD,
    samples: options.Samples = None,
    region: options.Region = None,
    settings: options.Settings = None,
    components: Annotated[
        int | None, typer.Option(help="How many components to keep; 64 or the rank.")
    ] = None,
    randomized: Annotated[
        bool, typer.Option("--randomized", help="Approximate: the leading components only.")
    ] = False,
    nulls: options.Nulls = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    tile: options.Tile = None,
    compiled: options.Compile = False,
    out: options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: options.Debug = False,
) -> None:
    """Plot the cumulative explained variance around a picture, or of a whole store."""
    from latentlab.components.stores import is_store

    request = Request(
        image,
        size,
        neighborhood,
        samples,
        region,
        settings,
        seed,
        context.obj,
        components,
        randomized,
        nulls,
        dtype,
    )
    if is_store(image):
        refuse_picture_options(context)
        stored = analyse_store(request, out, quiet=quiet)
        if stored is None:
            return
        facts = stored
    else:
        check(request, out)
        vae = Machine(model, device, dtype, offline, quiet, tile, compiled).load()
        with progress_bar(quiet=quiet) as progress:
            _, _, facts = analyse(vae, request, out, progress, quiet=quiet)
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    table = Table(show_header=False, box=None, pad_edge=False)
    for row in _summary_rows(facts):
        table.add_row(*row)
    console.print(table)
    console.print(facts["verdict"])
    console.print(facts["statement"], style="dim")
    for path in facts["files"]:
        print(path)


def _summary_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    shares = facts["explained_variance_ratio"][:5]
    chance = ", ".join(
        f"{name} {shown(null['log_fit_r2'], '.3f')}" for name, null in facts["null"].items()
    )
    return [
        (f"variance of PC 1–{len(shares)}", ", ".join(f"{share:.1%}" for share in shares)),
        ("k for 50, 90, 95, 99 %", ", ".join(shown(facts[f"k{p}"], "d") for p in (50, 90, 95, 99))),
        *_effective_dimension(facts),
        ("components above chance", _count(facts)),
        (
            "R² of the log fit",
            f"{shown(facts['log_fit_r2'], '.3f')} (chance: {chance or '–'})",
        ),
        *_how_exact(facts),
        *([("tiled", tiling(facts["tiles"]))] if "tiles" in facts else []),
    ]


def _how_exact(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "store" not in facts:
        return [("reconstruction", f"{shown(facts['reconstruction_psnr'], '.2f')} dB PSNR")]
    bounds = facts["eigenvalue_error_bounds"]
    if bounds is None:
        return [("method", f"{facts['method']}, exact")]
    largest = max(
        bound / value for bound, value in zip(bounds, facts["explained_variance"], strict=True)
    )
    return [("method", f"{facts['method']}, eigenvalues within {largest:.1%}")]


def _effective_dimension(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if facts["participation_ratio"] is None:  # of a spectrum of which only the beginning is known
        return []
    found = facts["effective_dimension"]
    interval = ""
    if found is not None:
        ends = f"{shown(found['lower'], '.1f')}–{shown(found['upper'], '.1f')}"
        interval = f" (95 % interval {ends})"
    unbiased = shown(facts["participation_ratio_corrected"], ".1f")
    ratio = shown(facts["participation_ratio"], ".1f")
    return [("participation ratio", f"{ratio}{interval}, bias-corrected {unbiased}")]


def _count(facts: Mapping[str, Any]) -> str:
    count, null = facts["components_above_null"], facts["components_above_null_of"]
    if count is None:
        return "–"
    known = len(facts["explained_variance"])
    partial = known < min(facts["n_samples"] - 1, facts["n_features"])
    at_least = "≥ " if partial and count == known else ""
    return f"{at_least}{count} ({null} null)"
