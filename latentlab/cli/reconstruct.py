"""``latentlab reconstruct``: images encoded and decoded again, with what was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, print_parts, progress_bar, say, shown, table
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_images
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output
from latentlab.images.fit import AUTO


@grouped
def reconstruct(
    context: typer.Context,
    images: Annotated[
        list[str], typer.Argument(help="Image files, sample:flower or sample:china.")
    ],
    machine: Machine,
    output: Output,
    size: options.Size = AUTO,
) -> None:
    """Encode images, decode them again, and show what was lost."""
    check_images(images)
    from latentlab.machine.files import check_folder
    from latentlab.recipes.reconstructing import analyze_reconstruction
    from latentlab.results.folders import RUNS_FOLDER

    side = options.parse_size(size)
    check_folder(output.out or RUNS_FOLDER)
    vae = machine.load(quiet=output.quiet)
    runs: list[dict[str, Any]] = []
    with progress_bar(quiet=output.quiet, shorten="lower --size") as progress:
        for image in images:
            saved = analyze_reconstruction(
                vae,
                image,
                size=side,
                folder=_folder_of(image, images, output.out),
                command_line=context.obj,
                say=partial(say, quiet=output.quiet),
            )
            runs.append(saved.printed())
            if progress:
                progress("reconstructing", len(runs), len(images))
    say_tiling(vae, quiet=output.quiet)
    _print_all(runs, output)


def _folder_of(image: str, images: Sequence[str], out: Path | None) -> Path | None:
    """Return the folder for one of several images: a folder of its own inside ``--out``."""
    if out is None or len(images) == 1:
        return out
    names = [Path(other).stem.replace(":", "-") for other in images]
    name = Path(image).stem.replace(":", "-")
    return out / (name if names.count(name) == 1 else f"{name}-{images.index(image) + 1}")


def _print_all(runs: Sequence[Mapping[str, Any]], output: Output) -> None:
    """Print one object for one image, and a table for several."""
    if output.json:
        print_json(runs[0] if len(runs) == 1 else {"images": runs})
    elif not output.quiet:
        rows = [
            (
                run["title"],
                f"{shown(run['psnr'], '.2f')} dB",
                f"{run['mean_error']:.2%}",
                shown(run["error_p99"], ".1%"),
            )
            for run in runs
        ]
        heads = ("", "PSNR", "mean error", "99 % of pixels below")
        print_parts([table(rows, heads), "Errors are shares of the range from black to white."])
        print(*(file for run in runs for file in run["files"]), sep="\n")
