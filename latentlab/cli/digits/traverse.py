"""``latentlab digits traverse``: every latent moved alone, under every label."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, say
from latentlab.cli.digits import options as digits_options
from latentlab.cli.digits.setting import record_command, results_folder


def traverse(
    context: typer.Context,
    run: digits_options.Run = None,
    span: Annotated[float, typer.Option(help="How far, both ways, in σ.")] = 2.0,
    range_: Annotated[
        str,
        typer.Option(
            "--range",
            help="sigma: of the prior; quantile: of the test set's codes, as far out as ±SPAN σ.",
        ),
    ] = "sigma",
    steps: Annotated[int, typer.Option(help="Pictures along each latent.")] = 17,
    fps: Annotated[float, typer.Option(help="Pictures a second.")] = 12,
    seed: options.Seed = 0,
    out: digits_options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: bool = False,
) -> None:
    """Move every latent under every label: a sheet, a film, and what it changes."""
    from latentlab.digits.folders import load_run
    from latentlab.digits.traversal import (
        sweep_changes,
        sweep_film,
        sweep_latents,
        sweep_sheet,
        sweep_values,
    )
    from latentlab.figures.animation import check_format, write_animation
    from latentlab.images.reading import save_png
    from latentlab.results.folders import write_json

    check_format(".gif", fps)
    loaded = load_run(run)
    values = sweep_values(loaded, reach=range_, span=span, steps=steps)
    folder = results_folder(out, "traverse")
    say(f"writing into {folder}", quiet=quiet)
    center = None
    if not loaded.model.config.is_variational and loaded.codes is not None:
        center = loaded.codes.mean.mean(0)
    sweep = sweep_latents(loaded.model, values, center=center)
    title = f"{loaded.name}: each latent from {_reach(range_, span)}, the others at rest"
    tilt = loaded.tilt_dimension
    files = [
        save_png(folder / "traverse.png", sweep_sheet(sweep, title=title, tilt=tilt)),
        write_animation(
            folder / "traverse.gif", sweep_film(sweep, title=title, tilt=tilt), fps=fps
        ),
    ]
    facts: dict[str, Any] = {
        "run": str(run or "shipped"),
        "range": range_,
        "span": span,
        "tilt_dimension": tilt,
        "values": values.tolist(),
        "labels": list(sweep.labels),
        "change": {name: change.tolist() for name, change in sweep_changes(sweep).items()},
    }
    files.append(write_json(folder / "traverse.json", facts))
    files.append(record_command(folder, "traverse", context.obj, seed=seed))
    facts |= {"out": str(folder), "files": [str(file) for file in files]}
    if json:
        print_json(facts)
    elif not quiet:
        for file in files:
            print(file)


def _reach(range_: str, span: float) -> str:
    minus = "\N{MINUS SIGN}"
    return (
        f"{minus}{span:g} to {span:g} σ"
        if range_ == "sigma"
        else f"the quantiles at {minus}{span:g} and {span:g} σ of a normal"
    )
