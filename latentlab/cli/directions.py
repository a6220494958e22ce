"""``latentlab directions``: find directions, label them and compare them with others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import SHORTEN_SAMPLING, progress_bar, say, shown, styled, table
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import expand
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output, Samples, parse_names, parse_size
from latentlab.cli.several import RunOne, run_each
from latentlab.directions import FINDERS
from latentlab.encoding.scale import Scales

if TYPE_CHECKING:
    from latentlab.loaders import LatentVAE
    from latentlab.recipes.finding import FoundDirections

_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "directions": lambda facts: str(len(facts["directions"])),
    "strongest": lambda facts: shown(facts["strengths"][0], ".3g"),
    "random": lambda facts: shown(facts["baseline_strength"], ".3g"),
    "correlates with": lambda facts: (facts["meanings"] or [""])[0] or "–",
}
"""Heading → cell, in the table of several images; the strongest direction is the first."""


@grouped
def directions(
    context: typer.Context,
    image: Annotated[
        list[str],
        typer.Argument(help="Image files, sample:flower or sample:china, each by itself."),
    ],
    machine: Machine,
    samples: Samples,
    output: Output,
    finder: options.FinderName = "pca",
    components: Annotated[
        int | None,
        typer.Option(help="Number of directions. Default: 8, or one for each factor."),
    ] = None,
    labels: Annotated[
        bool,
        typer.Option(help="Say what each direction changes; decodes about 100 images."),
    ] = True,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Finders to measure the overlap with, or none. Default: pca,random.",
        ),
    ] = None,
    alignment: Annotated[
        int,
        typer.Option(
            metavar="CELLS",
            help="In so many cells, say how far channels change the image independently; takes two "
            "products with the decoder's Jacobian for each channel of a cell.",
        ),
    ] = 0,
    features: options.Features = None,
    figure_format: options.FigureFormat = "png",
) -> None:
    """Find directions around an image and say what each changes."""
    how: dict[str, Any] = {
        "features": features,
        "labels": labels,
        "compare": parse_names("--compare", compare),
        "alignment": alignment,
    }
    quiet = output.quiet

    def begin(first: str, scales: Scales | None) -> RunOne:
        asked = {**how, "scales": scales}
        vae, find = begin_search(first, machine, samples, output, finder, components, **asked)
        from latentlab.recipes.finding import save_found, walk_along_all

        options.say_sheet_stays_png(figure_format, quiet=quiet)

        def run(image: str, folder: Path | None) -> Mapping[str, Any]:
            found = find(image)
            with progress_bar(quiet=quiet, shorten=SHORTEN_SAMPLING) as progress:
                walk = walk_along_all(vae, found, progress)
            say_tiling(vae, quiet=quiet)
            return save_found(vae, found, folder, context.obj, walk=walk).printed()

        return run

    show = partial(output.show, summarize=_summarize)
    run_each(context, expand(image), output, begin, show, _COLUMNS)


def begin_search(
    first: str,
    machine: Machine,
    samples: Samples,
    output: Output,
    finder: str,
    components: int | None,
    *,
    scales: Scales | None = None,
    **how: Any,
) -> tuple[LatentVAE, Callable[[str], FoundDirections]]:
    """Return the model, and what finds directions around an image, as the options ask for it.

    What can be wrong with the options is found with the first image, before the model is loaded.
    """
    for name in (finder, *(how["compare"] or ())):
        FINDERS.check(name)
    plan = samples.plan()
    # torch is imported here, after what can be checked without it.
    from latentlab.recipes.finding import check_search, find_around, plan_search

    search = plan_search(plan, finder, components, **how)
    check_search(search, first, output.out)
    size, tell = parse_size(samples.size), partial(say, quiet=output.quiet)
    vae = machine.load(quiet=output.quiet)

    def find(image: str) -> FoundDirections:
        with progress_bar(quiet=output.quiet, shorten=SHORTEN_SAMPLING) as progress:
            return find_around(
                vae, image, search, size=size, say=tell, scales=scales, progress=progress
            )

    return vae, find


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
    return [
        _directions_table(facts),
        *([_factors_table(facts["factors"])] if facts.get("factors") else []),
        *_remarks(facts),
        *facts["notes"],
        styled(facts["statement"], "dim"),
    ]


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
    """Return a line for each comparison, and one on the labels to expect by chance."""
    lines = [
        f"overlap with {name}: {shown(one['overlap'], '.3f')} "
        f"(random subspaces: {shown(one['chance'], '.4f')}); "
        f"smallest angle {shown(one['angles'][0], '.0f')}°"
        for name, one in facts["agreement"].items()
    ]
    lines += _alignment(facts["alignment"])
    for first in facts["labels"][:1]:
        lines.append(
            f"labels: by chance the largest |ρ| of all stays below {first['threshold']:.2f}"
        )
        if any(one["baseline"] is not None for one in facts["labels"]):
            lines[-1] += ", and those of factors exceed 95 % of random directions"
        lines[-1] += (
            "; ± is what one step changes in the decoded image, and what only reads a factor "
            "does not change it visibly"
        )
    return lines


def _alignment(facts: Mapping[str, Any]) -> list[str]:
    """Return how far directions, and the decoder where it was looked at, keep to channels."""

    def beside(one: Mapping[str, float], how: str) -> str:
        rotated = format(one["rotated"], how)
        return f"{format(one['value'], how)} (channels rotated: {rotated}, p {one['p']:.2g})"

    lines = [f"concentration on single channels: {beside(facts['channels'], '.3f')}"]
    if decoder := facts["decoder"]:
        lines.append(
            f"decoder, {decoder['cells']} cells: {decoder['off_diagonal']:.0%} of JᵀJ is off its "
            f"diagonal, {decoder['between_cells']:.0%} between cells; within cells "
            f"{beside(decoder['within_cells'], '.1%')}; IMA contrast "
            f"{beside(decoder['ima'], '.2f')} nats"
        )
    return lines
