"""``latentlab transfer``: do directions found at one picture do the same at others?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import finding, options
from latentlab.cli.analysis import Request
from latentlab.cli.console import print_json, progress_bar
from latentlab.cli.defaults import DEFAULT_NEIGHBORHOOD
from latentlab.cli.machine import Machine, say_tiling
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.latents import Latent
    from latentlab.loaders import LatentVAE


def transfer(
    context: typer.Context,
    images: Annotated[
        list[str], typer.Argument(help="The picture that directions are found at, then others.")
    ],
    finder: options.FinderName = "pca",
    components: Annotated[int, typer.Option(help="How many directions.")] = 5,
    alpha: Annotated[
        float, typer.Option(help="Step both ways, in the neighborhood's standard deviations.")
    ] = 2.0,
    features: options.Features = None,
    model: options.Model = None,
    size: options.Size = None,
    neighborhood: options.NeighborhoodName = DEFAULT_NEIGHBORHOOD,
    samples: options.Samples = None,
    region: options.Region = None,
    settings: options.FinderSettings = None,
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
    """Compare what directions change at the picture they were found at and at others."""
    from latentlab import transfer as measure
    from latentlab.results.directions import save_transfer
    from latentlab.results.folders import create_run, read_json
    from latentlab.results.provenance import provenance, record

    if len(images) < 2:
        raise UsageError(f"one picture, {images[0]}", "at least two", "pass A.jpg B.jpg …")
    if not 0 < alpha <= 1e6:
        raise UsageError(f"--alpha {alpha:g}", "a number above 0", "pass --alpha 2")
    request = Request(images[0], size, neighborhood, samples, region, settings, seed, context.obj)
    request, search = finding.plan(
        request, finder, components=components, labels=False, compare="none", features=features
    )
    finding.check(request, search, out)
    vae = Machine(model, device, dtype, offline, quiet, tile, compiled).load()
    with progress_bar(quiet=quiet) as progress:
        targets = _encode(vae, images, size)
        found = finding.find(vae, request, search, progress)
        moved = measure(
            vae,
            found.latent,
            found.directions,
            targets,
            alpha=alpha,
            seed=seed,
            progress=progress,
        )
    folder = out or create_run(found.latent.name, vae.spec.name)
    files = finding.save(vae, found, folder, context.obj)["files"]
    files += [str(path) for path in save_transfer(moved, folder)]
    settings_of_run = {"images": images, "alpha": alpha, "seed": seed}
    record(folder, "transfer", provenance(vae, found.latent, context.obj, **settings_of_run))
    say_tiling(vae, quiet=quiet)
    facts = {
        **read_json(folder / "transfer.json", "transfer"),
        "finder": found.directions.finder,
        "files": files,
    }
    if json:
        print_json(facts)
    elif not quiet:
        _print_summary(facts)


def _encode(vae: LatentVAE, images: list[str], size: int | None) -> list[Latent]:
    """Return the latents of all pictures but the first, whose size they must have."""
    from latentlab import encode
    from latentlab.directions.transfer import check_targets

    origin, *targets = [encode(vae, image, size) for image in images]
    check_targets(origin, targets)
    return targets


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    # Names of files are long: they are broken rather than cut.
    table.add_column("", overflow="fold")
    for heading in ("picture change", "random, picture", "label scores", "random, labels"):
        table.add_column(heading, justify="right")
    several = len(facts["pairs"]) > 1
    for pair in [*facts["pairs"], *([{**facts, "target": "all"}] if several else [])]:
        cells = [
            _with_interval(pair[measure][mean], pair[measure][interval])
            for measure in ("picture_change", "label_scores")
            for mean, interval in (("cosine", "interval"), ("random", "random_interval"))
        ]
        table.add_row(pair["target"], *cells)
    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    console.print(f"cosine with the change at {facts['origin']}, mean (95 % interval)")
    console.print(table)
    for path in facts["files"]:
        print(path)


def _with_interval(mean: float, interval: list[float]) -> str:
    low, high = interval
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"
