"""``latentlab reconstruct``: images encoded and decoded again, with what was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_parts, say, shown, table
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import expand
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output
from latentlab.cli.several import RunOne, run_each
from latentlab.encoding.scale import Scales
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
    side, quiet = options.parse_size(size), output.quiet

    def begin(_: str, scales: Scales | None) -> RunOne:
        from latentlab.machine.files import check_folder
        from latentlab.recipes.reconstructing import analyze_reconstruction
        from latentlab.results.folders import RUNS_FOLDER

        check_folder(output.out or RUNS_FOLDER)
        vae = machine.load(quiet=quiet)
        how: dict[str, Any] = {"size": side, "command_line": context.obj, "scales": scales}
        how["say"] = partial(say, quiet=quiet)

        def run(image: str, folder: Path | None) -> Mapping[str, Any]:
            saved = analyze_reconstruction(vae, image, folder=folder, **how)
            say_tiling(vae, quiet=quiet)
            return saved.printed()

        return run

    run_each(context, expand(images), output, begin, _show, _COLUMNS, brief=True)


_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "PSNR": lambda facts: f"{shown(facts['psnr'], '.2f')} dB",
    "mean error": lambda facts: f"{facts['mean_error']:.2%}",
    "99 % of pixels below": lambda facts: shown(facts["error_p99"], ".1%"),
}
"""Heading → cell, of one image and of several."""


def _show(facts: Mapping[str, Any]) -> None:
    cells = [(facts["title"], *(cell(facts) for cell in _COLUMNS.values()))]
    print_parts(
        [table(cells, ("", *_COLUMNS)), "Errors are shares of the range from black to white."]
    )
    if over := facts.get("psnr_over"):
        shares = ", ".join(f"{name} {value:.2f}" for name, value in over.items())
        print(
            f"over other backgrounds, in dB: {shares}; mean {facts['psnr_over_mean']:.2f}; "
            f"opacity alone {facts['psnr_alpha']:.2f}"
        )
    print(*facts["files"], sep="\n")
