"""``latentlab digits traverse``: every latent moved alone, under every label."""

from __future__ import annotations

from typing import Annotated

import typer

from latentlab.cli import options
from latentlab.cli.console import say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.results import report, results_folder


def traverse(
    context: typer.Context,
    run: digits_options.Run = None,
    span: Annotated[float, typer.Option(help="Distance in both directions, in σ.")] = 2.0,
    range_: Annotated[
        str,
        typer.Option(
            "--range",
            help="sigma: ±SPAN σ of the prior; quantile: the quantiles of the test set's codes "
            "that lie at ±SPAN σ of a normal.",
        ),
    ] = "sigma",
    steps: Annotated[int, typer.Option(help="Images along each latent.")] = 17,
    fps: digits_options.Fps = 12,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Move every latent, for every digit.

    Writes a sheet and a film, and measures how the digit changes.
    """
    from latentlab.digits.folders import load_run
    from latentlab.digits.traversal import save_traversal, traversal_values
    from latentlab.figures.animation import check_format

    check_format(".gif", fps)
    loaded = load_run(run)
    values = traversal_values(loaded, reach=range_, span=span, steps=steps)
    folder = results_folder(out, "traverse")
    say(f"writing into {folder}", quiet=quiet)
    facts = save_traversal(loaded, values, folder, reach=range_, span=span, fps=fps)
    report(context, folder, facts)
