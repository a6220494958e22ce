"""``latentlab traverse``: step along the top components and write the decoded animations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.analysis import Request
from latentlab.cli.console import print_json, progress_bar, shown
from latentlab.cli.defaults import DEFAULT_NEIGHBORHOOD
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.starting import Start, resume, start_from_finder, start_from_pca
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.walks.traversal import Walk

_USUAL = 5


class Format(StrEnum):
    """File formats of an animation."""

    gif = "gif"
    webp = "webp"
    apng = "apng"
    mp4 = "mp4"


def traverse(
    context: typer.Context,
    image: Annotated[
        str | None, typer.Argument(help="A picture; without it, the latest pca run goes on.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The pca or directions run to go on with.")
    ] = None,
    finder: Annotated[
        str | None,
        typer.Option(help="Walk along what this finder finds (see directions); needs IMAGE; pca."),
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--no-labels",
            help="Write beside each row what it goes along with; the default with --finder.",
        ),
    ] = None,
    components: Annotated[
        int | None, typer.Option(help="How many directions to walk along; 5, or all if fewer.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Pictures along each direction.")] = 16,
    span: Annotated[
        float, typer.Option(help="How far, both ways, in the neighborhood's standard deviations.")
    ] = 3.0,
    curved: Annotated[
        bool, typer.Option("--curved", help="Find each direction anew at every step; slower.")
    ] = False,
    format: Annotated[Format, typer.Option(help="File format of the animations.")] = Format.gif,
    fps: Annotated[float, typer.Option(help="Pictures a second.")] = 12,
    loop: Annotated[bool, typer.Option(help="Play for ever, there and back; or once.")] = True,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="As for pca; by default the run's own.")
    ] = None,
    size: options.Size = None,
    neighborhood: Annotated[
        str | None, typer.Option("--neighborhood", "-k", help="As for pca; needs IMAGE.")
    ] = None,
    samples: options.Samples = None,
    region: options.Region = None,
    settings: options.FinderSettings = None,
    features: options.Features = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="As for pca; needs IMAGE; 0.")
    ] = None,
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
    """Step along the top components, or other directions, and write decoded animations."""
    from latentlab.encoding.precision import with_fast_decoder
    from latentlab.figures.animation import check_format
    from latentlab.results.folders import save_walk
    from latentlab.walks.traversal import check_steps

    check_steps(_USUAL if components is None else components, span, steps)
    suffix = f".{format.value}"
    check_format(suffix, fps)
    machine = Machine(model, device, dtype, offline, quiet, tile, compiled)
    if image is None:
        _refuse_picture_options(
            size=size,
            samples=samples,
            region=region,
            set=settings,
            neighborhood=neighborhood,
            seed=seed,
            finder=finder,
            labels=labels,
            features=features,
        )
        start = resume(run, out, machine)
    else:
        _refuse_run(run)
        kind = neighborhood or DEFAULT_NEIGHBORHOOD
        if curved:
            _refuse_tokens(kind)
        request = Request(
            image, size, kind, samples, region, settings, seed or 0, context.obj, components
        )
        request = replace(request, dtype=dtype)
        if finder or labels or features:
            start = start_from_finder(
                request, finder or "pca", labels is not False, features, out, machine
            )
        else:
            start = start_from_pca(request, out, machine)
    if start.dtype == "auto" and not curved:
        start = replace(start, vae=with_fast_decoder(start.vae))
    walk = _walk(start, components, span, steps, curved=curved, seed=seed or 0, quiet=quiet)
    files = save_walk(walk, start.folder, suffix=suffix, fps=fps, loop=loop)
    files.append(_record(walk, start, context.obj))
    say_tiling(start.vae, quiet=quiet)
    _report(start.folder, files, json=json, quiet=quiet)


def _walk(
    start: Start,
    components: int | None,
    span: float,
    steps: int,
    *,
    curved: bool,
    seed: int,
    quiet: bool,
) -> Walk:
    from latentlab import traverse as walk_along
    from latentlab.components.pca import PCA
    from latentlab.walks.curved import traverse_curved

    found = start.found
    there_are = len(found.components if isinstance(found, PCA) else found.vectors)
    how: dict[str, Any] = {
        "components": min(_USUAL, there_are) if components is None else components,
        "span": span,
        "steps": steps,
    }
    with progress_bar(quiet=quiet) as progress:
        if curved:
            return traverse_curved(
                start.vae, start.latent, found, seed=seed, progress=progress, **how
            )
        return walk_along(start.vae, start.latent, found, progress=progress, **how)


def _report(folder: Path, files: list[Path], *, json: bool, quiet: bool) -> None:
    from latentlab.results.folders import read_json

    facts = {**read_json(folder / "traversal.json"), "files": [str(path) for path in files]}
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _refuse_picture_options(**options: object) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise UsageError(
            f"{', '.join(given)} without IMAGE",
            "a picture for that",
            f"pass IMAGE, or leave {' and '.join(given)} out to go on with a run",
        )


def _refuse_run(run: Path | None) -> None:
    if run is not None:
        raise UsageError("IMAGE and --run", "one of the two", "leave one out")


def _refuse_tokens(neighborhood: str) -> None:
    """Raise UsageError where the neighborhood's rows are no whole latents."""
    from latentlab.neighborhoods import SAMPLERS
    from latentlab.neighborhoods.base import Sampler

    # A name that no sampler has is refused with all others, before the model is loaded.
    if SAMPLERS.get(neighborhood, Sampler).layout is not Sampler.layout:
        raise UsageError(
            f"--curved with --neighborhood {neighborhood}",
            "a neighborhood of whole latents, such as augment or gaussian",
            "choose another --neighborhood, or leave --curved out",
        )


def _record(walk: Walk, start: Start, command_line: list[str]) -> Path:
    from latentlab.encoding.precision import decode_precision
    from latentlab.results.provenance import provenance, record

    settings = {
        "alphas": walk.alphas.tolist(),
        "components": len(walk.trails),
        "precision": decode_precision(start.vae),
    }
    facts = provenance(start.vae, start.latent, command_line, **settings)
    known = {"input": start.input} if start.input else {}
    return record(start.folder, "traverse", {**facts, **known})


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    curved = facts.get("curved", False)
    headings = ["", "variance", "change/σ", "monotone", "flicker", "drift / ‖z‖", "clipped"]
    for heading in [*headings, *(["turned"] if curved else [])]:
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for row in facts["components"]:
        turned = [f"{sum(row['turning']):.2f} rad"] if curved else []
        table.add_row(
            row["label"],
            shown(row["explained_variance_ratio"], ".1%"),
            shown(row["pixel_change"], ".4f"),
            shown(row["monotonicity"], ".2f"),
            shown(row["flicker"], ".2f"),
            shown(row["drift_relative"], ".3f"),
            shown(row["clipped"], ".1%"),
            *turned,
        )
    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    console.print(table)
    for path in facts["files"]:
        print(path)
