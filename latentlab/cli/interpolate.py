"""``latentlab interpolate``: from one image to another through latent space."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import typer

from latentlab.cli import options
from latentlab.cli.console import progress_bar, say, shown, table
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_images
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Animation, Output
from latentlab.images.fit import AUTO


@grouped
def interpolate(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="An image file, sample:flower or sample:china.")],
    last: Annotated[
        str,
        typer.Argument(help="Another image. Without --size it gets the shape of the first."),
    ],
    machine: Machine,
    output: Output,
    animation: Animation,
    path: Annotated[
        Literal["linear", "slerp", "arc"],
        typer.Option(help="Path through latent space; arc changes the image in even steps."),
    ] = "linear",
    steps: Annotated[int, typer.Option(help="Number of frames, both ends included.")] = 24,
    size: options.Size = AUTO,
    figure_format: options.FigureFormatBesideAnimations = "png",
) -> None:
    """Interpolate between two images in latent space.

    Plots how evenly the image changes on the way.
    """
    check_images((first, last))
    side = options.parse_size(size)
    from latentlab.machine.files import check_folder
    from latentlab.recipes.comparing import analyze_interpolation, encode_alike
    from latentlab.results.folders import RUNS_FOLDER
    from latentlab.walks.interpolation import check_interpolation

    check_interpolation(path, steps)
    how = animation.checked()
    check_folder(output.out or RUNS_FOLDER)
    vae = machine.load(quiet=output.quiet)
    ends = encode_alike(vae, (first, last), side, partial(say, quiet=output.quiet))
    with progress_bar(quiet=output.quiet, shorten="lower --size or --steps") as progress:
        saved = analyze_interpolation(
            vae,
            ends,
            path=path,
            steps=steps,
            **how,
            folder=output.out,
            command_line=context.obj,
            figure_format=figure_format,
            progress=progress,
        )
    say_tiling(vae, quiet=output.quiet)
    output.show(saved.printed(), _summarize)


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
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
    return [table(rows, headings)]
