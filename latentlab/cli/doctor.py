"""``latentlab doctor``: what is wrong with a model, with values, thresholds and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import progress_bar, say, styled, table
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_image, check_source
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output
from latentlab.images.examples import PREFIX


@grouped
def doctor(
    context: typer.Context,
    machine: Machine,
    output: Output,
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="A folder of photos, a tar file or one image. Default: the two sample images.",
        ),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            "--samples", "-n", min=1, help="Images to examine at most, drawn at random from DIR."
        ),
    ] = 16,
    size: Annotated[
        str,
        typer.Option(
            metavar="PIXELS",
            help="Center-crop to a square and resize to PIXELS; or native, to keep every size.",
        ),
    ] = "256",
    seed: options.Seed = 0,
    figure_format: options.FigureFormat = "png",
) -> None:
    """Find what is wrong with a model, by how much, and what to do."""
    side, quiet = options.parse_size(size), output.quiet
    if images is not None:
        _check(images)
    vae = machine.load(quiet=quiet)
    from latentlab.recipes.diagnosing import analyze_health

    if not options.given_options(context, ["size"]):
        side = None  # the model may take another size only
    with progress_bar(quiet=quiet, shorten="lower --samples or --size") as progress:
        saved = analyze_health(
            vae,
            images,
            n_images=samples,
            size=side,
            seed=seed,
            folder=output.out,
            command_line=context.obj,
            figure_format=figure_format,
            progress=progress,
            say=partial(say, quiet=quiet),
        )
    say_tiling(vae, quiet=quiet)
    output.show(saved.printed(), _write)


def _check(images: str) -> None:
    from latentlab.images.formats import is_image_file

    path = Path(images)
    if images.startswith(PREFIX) or is_image_file(path):
        check_image(images)
    else:
        check_source(path)


def _write(facts: Mapping[str, Any]) -> Sequence[Any]:
    """Return the parts of the letter: findings, what is healthy, what could not be examined."""
    from latentlab.results.diagnoses import rows_of_findings, sentences_on_the_rest

    rows = rows_of_findings(facts)
    headings = ("finding", "value", "threshold", "what it is, and what to do")
    found = ["", table(rows, headings, left=(0, 1, 2, 3))] if rows else []
    healthy, unknown = sentences_on_the_rest(facts)
    return [*found, "", healthy, *(styled(line, "dim") for line in unknown), ""]
