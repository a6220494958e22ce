"""``latentlab directions``: find directions, say what they mean, and compare them with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, print_paths, progress_bar, shown, table
from latentlab.cli.grouping import grouped
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output, Samples, parse_names


@grouped
def directions(
    context: typer.Context,
    image: Annotated[str, typer.Argument(help="An image file, sample:flower or sample:china.")],
    machine: Machine,
    samples: Samples,
    output: Output,
    finder: options.FinderName = "pca",
    components: Annotated[
        int | None,
        typer.Option(help="Number of directions. Default: 8, or one for each factor."),
    ] = None,
    labels: Annotated[
        bool, typer.Option(help="Say what each direction correlates with; decodes 64 more images.")
    ] = True,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Finders to measure the overlap with, or none. Default: pca,random.",
        ),
    ] = None,
    features: options.Features = None,
) -> None:
    """Find directions around an image, and say what each of them changes."""
    from latentlab.recipes.finding import (
        Search,
        analyze_directions,
        check_search,
        default_comparison,
        split_options,
    )

    plan = samples.plan()
    settings = {**plan.options, **({"features": features} if features else {})}
    names = parse_names("--compare", compare)
    others = default_comparison(finder) if names is None else tuple(names)
    mine, rest = split_options(finder, settings)
    asked: dict[str, Any] = {
        "finder": finder,
        "n_components": components,
        "labels": labels,
        "compare": others,
    }
    check_search(Search(**asked, options=mine), replace(plan, options=rest), image, output.out)
    vae = machine.load(quiet=output.quiet)
    with progress_bar(quiet=output.quiet) as progress:
        found = analyze_directions(
            vae,
            image,
            **asked,
            options=settings,
            size=samples.size,
            neighborhood=plan.neighborhood,
            n_samples=plan.n_samples,
            region=plan.region,
            seed=plan.seed,
            folder=output.out,
            command_line=context.obj,
            progress=progress,
        )
    say_tiling(vae, quiet=output.quiet)
    assert found.saved is not None
    facts = found.saved.printed()
    if output.json:
        print_json(facts)
    elif not output.quiet:
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
    print_paths(facts)


def _directions_table(facts: Mapping[str, Any]) -> Any:
    measure = facts["strength_name"].partition(" (")[0]
    meanings = facts["meanings"] or [""] * len(facts["directions"])
    columns = (facts["strengths"], facts["explained_variance_ratio"], meanings)
    rows = [
        (name, shown(strength, ".3g"), shown(share, ".2%"), meaning)
        for name, strength, share, meaning in zip(facts["directions"], *columns, strict=True)
    ]
    rows.append(("random directions", shown(facts["baseline_strength"], ".3g"), "", ""))
    headings = ("", measure, "share of variance", "correlates with")
    return table(rows, headings, left=(0, 3))


def _factors_table(rows: list[Mapping[str, Any]]) -> Any:
    cells = [
        (
            row["factor"],
            f"{shown(row['found'], '.2f')} ({row['direction']})",
            f"{shown(row['pca'], '.2f')} (PC {row['component']})",
            shown(row["random"], ".2f"),
        )
        for row in rows
    ]
    headings = ("factor", "direction", "best component", "best random direction")
    return table(cells, headings, title="|Spearman| on held-out samples")


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
