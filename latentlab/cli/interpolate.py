"""``latentlab interpolate``: from one image to another through latent space."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, print_paths, progress_bar, shown, table
from latentlab.cli.grouping import grouped
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output


class PathName(StrEnum):
    """Paths between two latents."""

    linear = "linear"
    slerp = "slerp"
    arc = "arc"


@grouped
def interpolate(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="An image file, sample:flower or sample:china.")],
    last: Annotated[str, typer.Argument(help="Another image of the same size; see --size.")],
    machine: Machine,
    output: Output,
    path: Annotated[
        PathName,
        typer.Option(help="Path through latent space; arc changes the image in even steps."),
    ] = PathName.linear,
    steps: Annotated[int, typer.Option(help="Number of frames, both ends included.")] = 24,
    format: options.AnimationFormat = options.Format.gif,
    fps: options.Fps = 12,
    loop: options.Loop = True,
    size: options.Size = None,
) -> None:
    """Go from one image to another through latent space, and plot how evenly they change."""
    from latentlab import encode
    from latentlab.figures.animation import check_format
    from latentlab.machine.files import check_folder
    from latentlab.recipes.comparing import analyze_interpolation
    from latentlab.results.folders import RUNS_FOLDER
    from latentlab.walks.interpolation import check_interpolation

    suffix = f".{format.value}"
    check_interpolation(path.value, steps)
    check_format(suffix, fps)
    check_folder(output.out or RUNS_FOLDER)
    vae = machine.load(quiet=output.quiet)
    ends = [encode(vae, image, size) for image in (first, last)]
    with progress_bar(quiet=output.quiet) as progress:
        saved = analyze_interpolation(
            vae,
            ends,
            path=path.value,
            steps=steps,
            suffix=suffix,
            fps=fps,
            loop=loop,
            folder=output.out,
            command_line=context.obj,
            progress=progress,
        )
    say_tiling(vae, quiet=output.quiet)
    facts = saved.printed()
    if output.json:
        print_json(facts)
    elif not output.quiet:
        _print_summary(facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console

    rows = [
        (
            name,
            shown(row["length"], ".3f"),
            shown(row["detour"], ".3f"),
            shown(row["speed_ratio"], ".2f"),
            shown(max(row["drift_relative"]), ".3f"),
        )
        for name, row in {row["path"]: row for row in (facts, facts["linear"])}.items()
    ]
    headings = ("path", "length", "× straight", "fastest / slowest", "largest drift / ‖z‖")
    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    console.print(table(rows, headings))
    print_paths(facts)
