"""``latentlab traverse``: step along the top components and write the decoded animations."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.analysis import Request, analyse, check, load
from latentlab.cli.console import print_json, progress_bar, say, shown
from latentlab.defaults import DEFAULT_NEIGHBORHOOD, ChosenModel, choose_model
from latentlab.errors import FileError, UsageError

if TYPE_CHECKING:
    from latentlab.loaders import LatentVAE
    from latentlab.pca import PCA
    from latentlab.traversal import Walk


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
    run: Annotated[Path | None, typer.Option(help="The pca run to go on with.")] = None,
    components: Annotated[int, typer.Option(help="How many components to walk along.")] = 5,
    steps: Annotated[int, typer.Option(help="Pictures along each component.")] = 16,
    span: Annotated[
        float, typer.Option(help="How far, both ways, in the neighborhood's standard deviations.")
    ] = 3.0,
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
    settings: options.Settings = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="As for pca; needs IMAGE; 0.")
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    out: options.Out = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    offline: options.Offline = False,
    debug: options.Debug = False,
) -> None:
    """Step along the top components and write decoded animations."""
    from latentlab import traverse as walk_along
    from latentlab.animation import check_format
    from latentlab.pca import KEPT_COMPONENTS
    from latentlab.runs import check_folder, load_pca, read_json, save_walk
    from latentlab.traversal import check_steps

    check_steps(components, span, steps)
    suffix = f".{format.value}"
    check_format(suffix, fps)
    if image is None:
        _refuse_picture_options(size, samples, region, settings, neighborhood, seed)
        folder = _run_to_resume(run)
        check_folder(out or folder)
        say(f"going on with {folder}", quiet=quiet)
        found = load_pca(folder)
        vae = _load_model_of(folder, model, device, dtype, offline=offline, quiet=quiet)
        folder = out or folder
    else:
        _refuse_run(run)
        kind = neighborhood or DEFAULT_NEIGHBORHOOD
        more = components if components > KEPT_COMPONENTS else None
        request = Request(
            image, size, kind, samples, region, settings, seed or 0, context.obj, more
        )
        check(request, out)
        vae = load(choose_model(model), device, dtype, offline=offline, quiet=quiet)
        with progress_bar(quiet=quiet) as progress:
            found, folder, _ = analyse(vae, request, out, progress, quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        walk = walk_along(
            vae,
            found.center,
            found,
            components=components,
            span=span,
            steps=steps,
            progress=progress,
        )
    files = save_walk(walk, folder, suffix=suffix, fps=fps, loop=loop)
    files.append(_record(walk, vae, found, folder, context.obj))
    facts = {**read_json(folder / "traversal.json"), "files": [str(path) for path in files]}
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _refuse_picture_options(*given: object) -> None:
    if any(option is not None for option in given):
        raise UsageError(
            "--size, --samples, --region, --set, --neighborhood or --seed without IMAGE",
            "a picture that they apply to",
            "pass IMAGE, or leave them out to go on with a pca run",
        )


def _refuse_run(run: Path | None) -> None:
    if run is not None:
        raise UsageError("IMAGE and --run", "one of the two", "leave one out")


def _run_to_resume(run: Path | None) -> Path:
    from latentlab.runs import latest_run

    if run is None:
        return latest_run()
    if not (run / "pca.json").is_file():
        raise FileError(
            f"--run {run}", "a folder with a pca.json", "pass a folder that `latentlab pca` wrote"
        )
    return run


def _load_model_of(
    folder: Path, model: str | None, device: str, dtype: str, *, offline: bool, quiet: bool
) -> LatentVAE:
    """Return the model asked for, or the run's own, which must not have changed since."""
    from latentlab.runs import recorded_model

    recorded = recorded_model(folder)
    vae = load(
        choose_model(model) if model else ChosenModel(recorded["source"], f"the run in {folder}"),
        device,
        recorded["dtype"] if dtype == "auto" and not model else dtype,
        revision=None if model else recorded["revision"],
        offline=offline,
        quiet=quiet,
    )
    if model is None and dict(vae.origin.sha256) != recorded["sha256"]:
        raise FileError(
            f"weights of {recorded['source']} that differ from those of {folder}",
            "the weights that the run was made with",
            "run `latentlab pca` again, or choose with --model",
        )
    return vae


def _record(walk: Walk, vae: LatentVAE, found: PCA, folder: Path, command_line: list[str]) -> Path:
    from latentlab.runs import provenance, record

    settings = {"alphas": walk.alphas.tolist(), "components": len(walk.trails)}
    return record(folder, "traverse", provenance(vae, found.center, command_line, **settings))


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "variance", "change/σ", "monotone", "flicker", "drift / ‖z‖", "clipped"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in facts["components"]:
        table.add_row(
            row["label"],
            shown(row["explained_variance_ratio"], ".1%"),
            shown(row["pixel_change"], ".4f"),
            shown(row["monotonicity"], ".2f"),
            shown(row["flicker"], ".2f"),
            shown(row["drift_relative"], ".3f"),
            shown(row["clipped"], ".1%"),
        )
    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    console.print(table)
    for path in facts["files"]:
        print(path)
