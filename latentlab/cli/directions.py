"""``latentlab directions``: find directions, say what they mean, and compare them with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from latentlab.cli import finding, options
from latentlab.cli.analysis import Request
from latentlab.cli.console import print_json, progress_bar, shown
from latentlab.cli.defaults import DEFAULT_NEIGHBORHOOD
from latentlab.cli.machine import Machine, say_tiling

_SPAN = 3.0
_STEPS = 7


def directions(
    context: typer.Context,
    image: Annotated[str, typer.Argument(help="A picture file, or sample:flower, sample:china.")],
    finder: options.FinderName = "pca",
    components: Annotated[
        int | None, typer.Option(help="How many directions; 8, or one for each factor.")
    ] = None,
    labels: Annotated[
        bool, typer.Option(help="Say what each direction goes along with (64 pictures more).")
    ] = True,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…", help="Finders to measure the overlap with; pca,random or none."
        ),
    ] = None,
    features: options.Features = None,
    model: options.Model = None,
    size: options.Size = None,
    neighborhood: options.NeighborhoodName = DEFAULT_NEIGHBORHOOD,
    samples: options.Samples = None,
    region: options.Region = None,
    settings: options.FinderSettings = None,
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
    """Find directions around a picture, and say what each of them changes."""
    from latentlab import traverse
    from latentlab.results.folders import create_run

    request = Request(image, size, neighborhood, samples, region, settings, seed, context.obj)
    request, search = finding.plan(
        request, finder, components=components, labels=labels, compare=compare, features=features
    )
    finding.check(request, search, out)
    vae = Machine(model, device, dtype, offline, quiet, tile, compiled).load()
    with progress_bar(quiet=quiet) as progress:
        found = finding.find(vae, request, search, progress)
        walk = traverse(
            vae,
            found.latent,
            found.directions,
            components=len(found.directions.labels),
            span=_SPAN,
            steps=_STEPS,
            progress=progress,
        )
    folder = out or create_run(found.latent.name, vae.spec.name)
    facts = finding.save(vae, found, folder, context.obj, walk=walk)
    say_tiling(vae, quiet=quiet)
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    console.print(_directions_table(facts))
    if facts.get("factors"):
        console.print(_factors_table(facts["factors"]))
    for line in [*_remarks(facts), *facts["notes"]]:
        console.print(line)
    console.print(facts["statement"], style="dim")
    for path in facts["files"]:
        print(path)


def _directions_table(facts: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    measure = facts["strength_name"].partition(" (")[0]
    for heading in ("", measure, "share of variance"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_column("goes along with")
    meanings = facts["meanings"] or [""] * len(facts["directions"])
    rows = zip(
        facts["directions"],
        facts["strengths"],
        facts["explained_variance_ratio"],
        meanings,
        strict=True,
    )
    for name, strength, share, meaning in rows:
        table.add_row(name, shown(strength, ".3g"), shown(share, ".2%"), meaning)
    table.add_row("random directions", shown(facts["baseline_strength"], ".3g"), "", "")
    return table


def _factors_table(rows: list[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, title="|Spearman| on held-out samples", title_justify="left"
    )
    for heading in ("factor", "direction", "best component", "best random direction"):
        table.add_column(heading, justify="left" if heading == "factor" else "right")
    for row in rows:
        table.add_row(
            row["factor"],
            f"{shown(row['found'], '.2f')} ({row['direction']})",
            f"{shown(row['pca'], '.2f')} (PC {row['component']})",
            shown(row["random"], ".2f"),
        )
    return table


def _remarks(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each comparison, and what labels would be by chance."""
    lines = [
        f"overlap with {name}: {shown(one['overlap'], '.3f')} "
        f"(random subspaces: {shown(one['chance'], '.4f')}); "
        f"smallest angle {shown(one['angles'][0], '.0f')}°"
        for name, one in facts["agreement"].items()
    ]
    for first in facts["labels"][:1]:
        lines.append(f"labels: by chance the largest |ρ| stays below {first['threshold']:.2f}")
        if first["baseline"] is not None:
            lines[-1] += f"; for random directions it is {first['baseline']:.2f} on average"
        lines[-1] += "; ± is the change for one step, and no label where it would not be visible"
    return lines
