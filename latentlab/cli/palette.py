"""``latentlab palette``: where a model's latents keep color, and the matrix for previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import table
from latentlab.cli.grouping import grouped
from latentlab.cli.machine import Machine
from latentlab.cli.options import Output


@grouped
def palette(
    context: typer.Context,
    machine: Machine,
    output: Output,
    levels: Annotated[
        int, typer.Option(help="Values of red, green and blue each: LEVELS³ flat colors.")
    ] = 6,
    seed: options.Seed = 0,
) -> None:
    """Find the affine map from latents to RGB, for previews.

    It is fitted to the latents of flat colors.
    """
    vae = machine.load(quiet=output.quiet)
    from latentlab.recipes.palettes import analyze_palette

    how: dict[str, Any] = {"levels": levels, "seed": seed, "command_line": context.obj}
    output.show(analyze_palette(vae, folder=output.out, **how).printed(), _summarize)


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
    shares = ", ".join(f"{share:.2%}" for share in facts["explained_variance_ratio"][:4])
    rows = [
        ("flat colors", f"{facts['n_colors']:,}"),
        ("variance of PC 1–4", f"{shares} of the total"),
        ("R² of RGB, held-out colors", f"{facts['r2_held_out']:.6f} (rank {facts['rank']})"),
        *(
            (name, f"{one['subspace_share']:.1%} of its variance in PC 1–3, R² {one['r2']:.3f}")
            for name, one in facts["photos"].items()
        ),
    ]
    return [table(rows)]
