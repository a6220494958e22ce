"""``latentlab transfer``: do directions found at one image do the same at others?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import SHORTEN_SAMPLING, progress_bar, say, table
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_images, expand
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output, Samples
from latentlab.directions import FINDERS
from latentlab.errors import UsageError
from latentlab.metrics.two_way import write_interval


@grouped
def transfer(
    context: typer.Context,
    images: Annotated[
        list[str], typer.Argument(help="The image at which directions are found, then the others.")
    ],
    machine: Machine,
    samples: Samples,
    output: Output,
    finder: options.FinderName = "pca",
    components: Annotated[int, typer.Option(help="Number of directions.")] = 5,
    alpha: Annotated[
        float,
        typer.Option(help="Step in both directions, in standard deviations of the neighborhood."),
    ] = 2.0,
    features: options.Features = None,
    figure_format: options.FigureFormat = "png",
) -> None:
    """Try the directions of one image on others.

    Says whether they change the same there, beside random directions.
    """
    images = expand(images)
    check_images(images)
    FINDERS.check(finder)
    plan = samples.plan()
    if len(images) < 2:
        raise UsageError(f"one image, {images[0]}", "at least two images", "pass A.jpg B.jpg …")
    from latentlab.recipes.comparing import analyze_transfer
    from latentlab.recipes.finding import check_search, plan_search

    if not 0 < alpha <= 1e6:
        raise UsageError(f"--alpha {alpha:g}", "a number above 0", "pass --alpha 2")
    search = plan_search(plan, finder, components, features=features, labels=False, compare=())
    check_search(search, images[0], output.out)
    vae = machine.load(quiet=output.quiet)
    with progress_bar(quiet=output.quiet, shorten=SHORTEN_SAMPLING) as progress:
        saved = analyze_transfer(
            vae,
            images,
            search,
            alpha=alpha,
            size=options.parse_size(samples.size),
            say=partial(say, quiet=output.quiet),
            folder=output.out,
            command_line=context.obj,
            figure_format=figure_format,
            progress=progress,
        )
    say_tiling(vae, quiet=output.quiet)
    output.show(saved.printed(), _summarize)


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
    several = len(facts["pairs"]) > 1
    columns = (
        ("picture_change", "difference", "difference_interval"),
        ("label_scores", "difference", "difference_interval"),
        ("picture_change", "cosine", "interval"),
        ("picture_change", "random", "random_interval"),
        ("label_scores", "cosine", "interval"),
        ("label_scores", "random", "random_interval"),
    )
    entries = [*facts["pairs"], *([{**facts, "target": "all"}] if several else [])]
    rows = [
        (entry["target"], *(_cell(entry[of], *names) for of, *names in columns))
        for entry in entries
    ]
    headings = (
        *("", "found − random, image", "found − random, labels"),
        *("image change", "random, image", "label scores", "random, labels"),
    )
    heading = (
        f"cosine with the change at {facts['origin']}, mean (95 % interval for other directions"
        f"{', in the last line also for other images' if several else ' at this image'})"
    )
    return [heading, table(rows, headings)]


def _cell(facts: Mapping[str, Any], mean: str, interval: str) -> str:
    return write_interval(facts[mean], facts[interval])
