"""``latentlab report``: everything about a model on one page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import SHORTEN_SAMPLING, progress_bar, say
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_image, check_source
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output
from latentlab.images.fit import AUTO


@grouped
def report(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="IMAGE|DIR", help="An image, or a folder of photos.")
    ],
    machine: Machine,
    output: Output,
    size: options.Size = AUTO,
    samples: Annotated[
        int | None, typer.Option("--samples", "-n", help="Samples of the neighborhood.")
    ] = None,
    components: Annotated[int, typer.Option(min=1, help="Components to walk along.")] = 3,
    images: Annotated[
        int, typer.Option(min=1, help="Photos of DIR to examine and to measure at most.")
    ] = 16,
    seed: options.Seed = 0,
) -> None:
    """Write one HTML page with everything about a model."""
    side, quiet = options.parse_size(size), output.quiet
    (check_source if Path(subject).is_dir() else _check_image)(Path(subject))
    vae = machine.load(quiet=quiet)
    from latentlab.recipes.reporting import analyze_report

    with progress_bar(quiet=quiet, shorten=SHORTEN_SAMPLING) as progress:
        saved = analyze_report(
            vae,
            subject,
            size=side,
            n_samples=samples,
            n_components=components,
            n_images=images,
            seed=seed,
            folder=output.out,
            command_line=context.obj,
            say=partial(say, quiet=quiet),
            progress=progress,
        )
    say_tiling(vae, quiet=quiet)
    output.show(saved.printed(), _summarize)


def _check_image(path: Path) -> None:
    check_image(str(path))


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
    return [f"{', '.join(facts['sections'])}: open the page in a browser", ""]
