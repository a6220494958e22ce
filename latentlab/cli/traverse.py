"""``latentlab traverse``: step along the top components and write the decoded animations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import finding, options
from latentlab.cli.analysis import Request, analyse, check, load, say_tiling
from latentlab.cli.console import print_json, progress_bar, say, shown
from latentlab.defaults import DEFAULT_NEIGHBORHOOD, ChosenModel, choose_model
from latentlab.errors import FileError, UsageError

if TYPE_CHECKING:
    from latentlab.latents import Directions, Latent
    from latentlab.loaders import LatentVAE
    from latentlab.pca import PCA
    from latentlab.traversal import Walk

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
    from latentlab.animation import check_format
    from latentlab.precision import with_fast_decoder
    from latentlab.runs import save_walk
    from latentlab.traversal import check_steps

    check_steps(_USUAL if components is None else components, span, steps)
    suffix = f".{format.value}"
    check_format(suffix, fps)
    place = _Machine(model, device, dtype, offline, quiet, tile, compiled)
    if image is None:
        _refuse_picture_options(
            size, samples, region, settings, neighborhood, seed, finder, labels, features
        )
        start = _resume(run, out, place)
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
            start = _find(request, finder or "pca", labels is not False, features, out, place)
        else:
            start = _analyse(request, out, place)
    if start.dtype == "auto" and not curved:
        start = replace(start, vae=with_fast_decoder(start.vae))
    walk = _walk(start, components, span, steps, curved=curved, seed=seed or 0, quiet=quiet)
    files = save_walk(walk, start.folder, suffix=suffix, fps=fps, loop=loop)
    files.append(_record(walk, start, context.obj))
    say_tiling(start.vae, quiet=quiet)
    _report(start.folder, files, json=json, quiet=quiet)


@dataclass(frozen=True)
class _Machine:
    """Which model, where and how."""

    model: str | None
    device: str
    dtype: str
    offline: bool
    quiet: bool
    tile: int | None
    compiled: bool

    def load(self) -> LatentVAE:
        return load(
            choose_model(self.model),
            self.device,
            self.dtype,
            offline=self.offline,
            quiet=self.quiet,
            tile=self.tile,
            compiled=self.compiled,
        )


@dataclass(frozen=True)
class _Start:
    """Where a walk begins: the model, a latent, what to walk along, where the results go."""

    vae: LatentVAE
    latent: Latent
    found: PCA | Directions
    folder: Path
    dtype: str = "auto"


def _resume(run: Path | None, out: Path | None, place: _Machine) -> _Start:
    """Return the start that an earlier run wrote down."""
    from latentlab.direction_runs import FACTS, load_directions
    from latentlab.provenance import asked_dtype
    from latentlab.runs import check_folder, load_pca

    folder = _run_to_resume(run)
    check_folder(out or folder)
    say(f"going on with {folder}", quiet=place.quiet)
    if (folder / "pca.json").is_file() or not (folder / FACTS).is_file():
        pca = load_pca(folder)
        vae = _load_model_of(folder, "pca", place)
        dtype = place.dtype if place.dtype != "auto" else asked_dtype(folder)
        return _Start(vae, pca.center, pca, out or folder, dtype)
    directions, latent = load_directions(folder)
    vae = _load_model_of(folder, "directions", place)
    return _Start(vae, latent, directions, out or folder, place.dtype)


def _analyse(request: Request, out: Path | None, place: _Machine) -> _Start:
    """Return the start that a new pca run gives."""
    from latentlab.pca import KEPT_COMPONENTS

    beyond = request.components is not None and request.components > KEPT_COMPONENTS
    request = request if beyond else replace(request, components=None)
    check(request, out)
    vae = place.load()
    with progress_bar(quiet=place.quiet) as progress:
        found, folder, _ = analyse(vae, request, out, progress, quiet=place.quiet)
    return _Start(vae, found.center, found, folder, place.dtype)


def _find(
    request: Request,
    finder: str,
    labels: bool,
    features: str | None,
    out: Path | None,
    place: _Machine,
) -> _Start:
    """Return the start that a new directions run gives."""
    from latentlab.runs import create_run

    request, search = finding.plan(
        request,
        finder,
        components=request.components,
        labels=labels,
        compare="none",
        features=features,
    )
    finding.check(request, search, out)
    vae = place.load()
    with progress_bar(quiet=place.quiet) as progress:
        found = finding.find(vae, request, search, progress)
    folder = out or create_run(found.latent.name, vae.spec.name)
    finding.save(vae, found, folder, request.command_line)
    for note in found.directions.notes:
        say(note, quiet=place.quiet)
    return _Start(vae, found.latent, found.directions, folder, place.dtype)


def _walk(
    start: _Start,
    components: int | None,
    span: float,
    steps: int,
    *,
    curved: bool,
    seed: int,
    quiet: bool,
) -> Walk:
    from latentlab import traverse as walk_along
    from latentlab.curved import traverse_curved
    from latentlab.pca import PCA

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
    from latentlab.runs import read_json

    facts = {**read_json(folder / "traversal.json"), "files": [str(path) for path in files]}
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _refuse_picture_options(*given: object) -> None:
    if any(option is not None for option in given):
        raise UsageError(
            "--size, --samples, --region, --set, --neighborhood, --seed, --finder, --labels or "
            "--features without IMAGE",
            "a picture that they apply to",
            "pass IMAGE, or leave them out to go on with a run",
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


def _run_to_resume(run: Path | None) -> Path:
    from latentlab.direction_runs import FACTS
    from latentlab.runs import latest_run

    if run is None:
        return latest_run()
    if not any((run / name).is_file() for name in ("pca.json", FACTS)):
        raise FileError(
            f"--run {run}",
            f"a folder with a pca.json or {FACTS}",
            "pass a folder that `latentlab pca` or `latentlab directions` wrote",
        )
    return run


def _load_model_of(folder: Path, command: str, place: _Machine) -> LatentVAE:
    """Return the model asked for, or the run's own, which must not have changed since."""
    from latentlab.provenance import recorded_model

    recorded = recorded_model(folder, command)
    if place.model:
        return place.load()
    vae = load(
        ChosenModel(recorded["source"], f"the run in {folder}"),
        place.device,
        recorded["dtype"] if place.dtype == "auto" else place.dtype,
        revision=recorded["revision"],
        offline=place.offline,
        quiet=place.quiet,
        tile=place.tile,
        compiled=place.compiled,
    )
    if dict(vae.origin.sha256) != recorded["sha256"]:
        raise FileError(
            f"weights of {recorded['source']} that differ from those of {folder}",
            "the weights that the run was made with",
            f"run `latentlab {command}` again, or choose with --model",
        )
    return vae


def _record(walk: Walk, start: _Start, command_line: list[str]) -> Path:
    from latentlab.precision import decode_precision
    from latentlab.provenance import provenance, record

    settings = {
        "alphas": walk.alphas.tolist(),
        "components": len(walk.trails),
        "precision": decode_precision(start.vae),
    }
    facts = provenance(start.vae, start.latent, command_line, **settings)
    return record(start.folder, "traverse", facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    curved = facts.get("curved", False)
    headings = ["", "variance", "change/σ", "monotone", "flicker", "drift / ‖z‖", "clipped"]
    for heading in [*headings, *(["turned"] if curved else [])]:
        table.add_column(heading, justify="right" if heading else "left")
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
