"""``latentlab interpolate``: from one picture to another through latent space."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, progress_bar, shown
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.traverse import Format

if TYPE_CHECKING:
    from latentlab.latents import Latent
    from latentlab.loaders import LatentVAE


class WayThrough(StrEnum):
    """Paths between two latents."""

    linear = "linear"
    slerp = "slerp"
    arc = "arc"


def interpolate(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="A picture file, or sample:flower, sample:china.")],
    last: Annotated[str, typer.Argument(help="Another of the same size; --size makes them so.")],
    path: Annotated[
        WayThrough, typer.Option(help="Through latent space; arc: at even steps of the picture.")
    ] = WayThrough.linear,
    steps: Annotated[int, typer.Option(help="Pictures, both ends included.")] = 24,
    format: Annotated[Format, typer.Option(help="File format of the animation.")] = Format.gif,
    fps: Annotated[float, typer.Option(help="Pictures a second.")] = 12,
    loop: Annotated[bool, typer.Option(help="Play for ever, there and back; or once.")] = True,
    model: options.Model = None,
    size: options.Size = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    tile: options.Tile = None,
    compiled: options.Compile = False,
    out: options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: options.Debug = False,
) -> None:
    """Go from one picture to another through latent space, and plot how evenly they change."""
    from latentlab.encoding.encoder import encode
    from latentlab.figures.animation import check_format
    from latentlab.images.reading import read_picture
    from latentlab.results.folders import RUNS_FOLDER, check_folder, create_run, read_json
    from latentlab.results.interpolations import save_interpolation
    from latentlab.walks.interpolation import check_interpolation
    from latentlab.walks.interpolation import interpolate as go

    suffix = f".{format.value}"
    check_interpolation(path.value, steps)
    check_format(suffix, fps)
    check_folder(out or RUNS_FOLDER)
    vae = Machine(model, device, dtype, offline, quiet, tile, compiled).load()
    pictures = [read_picture(name, size=size, multiple=vae.spec.multiple) for name in (first, last)]
    ends = [encode(vae, picture) for picture in pictures]
    with progress_bar(quiet=quiet) as progress:
        found = go(vae, *ends, path=path.value, steps=steps, progress=progress)
    with progress_bar(quiet=quiet) as progress:
        straight = (
            found if found.path == "linear" else go(vae, *ends, steps=steps, progress=progress)
        )
    folder = out or create_run(f"{ends[0].name}-{ends[1].name}", vae.spec.name)
    files = save_interpolation(found, straight, folder, suffix=suffix, fps=fps, loop=loop)
    files.append(_record(vae, ends, folder, context.obj, path=path.value, steps=steps, seed=seed))
    say_tiling(vae, quiet=quiet)
    facts = {**read_json(folder / "interpolation.json"), "files": [str(file) for file in files]}
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _record(
    vae: LatentVAE, ends: list[Latent], folder: Path, command_line: list[str], **settings: Any
) -> Path:
    from latentlab.results.provenance import provenance, record

    # Both pictures are input; nothing else of a run's record depends on them.
    inputs = [provenance(vae, end, command_line)["input"] for end in ends]
    facts = {**provenance(vae, ends[0], command_line, **settings), "input": inputs}
    return record(folder, "interpolate", facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("path", "length", "× straight", "fastest / slowest", "largest drift / ‖z‖"):
        table.add_column(heading, justify="left" if heading == "path" else "right")
    rows = {row["path"]: row for row in (facts, facts["linear"])}
    for name, row in rows.items():
        table.add_row(
            name,
            shown(row["length"], ".3f"),
            shown(row["detour"], ".3f"),
            shown(row["speed_ratio"], ".2f"),
            shown(max(row["drift_relative"]), ".3f"),
        )
    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    console.print(table)
    for file in facts["files"]:
        print(file)
