"""``latentlab traverse``: step along the top components and write the decoded animations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, print_paths, progress_bar, say, shown, table
from latentlab.cli.defaults import ChosenModel
from latentlab.cli.grouping import grouped
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Output, Samples
from latentlab.errors import UsageError
from latentlab.neighborhoods import DEFAULT_NEIGHBORHOOD

if TYPE_CHECKING:
    from latentlab.components.pca import PCA
    from latentlab.latents import Directions, Latent
    from latentlab.loaders import LatentVAE


@dataclass(frozen=True)
class _OwnSamples:
    """The options of ``pca`` on samples, all without a default: a resumed run takes none."""

    size: options.Size = None
    neighborhood: Annotated[
        str | None,
        typer.Option(
            "--neighborhood", "-k", help=f"{{neighborhoods}}. Default: {DEFAULT_NEIGHBORHOOD}."
        ),
    ] = None
    samples: Annotated[
        int | None, typer.Option("--samples", "-n", help="Number of samples. Default: 256.")
    ] = None
    region: Annotated[
        str | None, typer.Option(help="Analyze only this part of the image: x,y,width,height.")
    ] = None
    settings: options.Settings = None
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="Seed of all random numbers. Default: 0."),
    ] = None

    def of_image(self) -> Samples:
        """Return the options with the defaults of ``pca``."""
        kind = self.neighborhood or DEFAULT_NEIGHBORHOOD
        return Samples(self.size, kind, self.samples, self.region, self.settings, self.seed or 0)


@dataclass(frozen=True)
class _Finding:
    """The options on a finder."""

    finder: Annotated[
        str | None,
        typer.Option(help="Walk along the directions of this finder: {finders}. Default: pca."),
    ] = None
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--no-labels",
            help="Write beside each row what it correlates with. Default with --finder.",
        ),
    ] = None
    features: options.Features = None


@dataclass(frozen=True)
class _Start:
    """Where a walk begins: the model, a latent, what to walk along, where the results go."""

    vae: LatentVAE
    latent: Latent
    found: PCA | Directions
    folder: Path
    dtype: str


@grouped
def traverse(
    context: typer.Context,
    machine: Machine,
    samples: _OwnSamples,
    finding: _Finding,
    output: Output,
    image: Annotated[
        str | None, typer.Argument(help="An image. Default: resume the latest pca run.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The pca or directions run to resume.")] = None,
    components: Annotated[
        int | None,
        typer.Option(help="Number of directions to walk along. Default: 5, or all if fewer."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Number of frames along each direction.")] = 16,
    span: Annotated[
        float,
        typer.Option(help="How far to walk, in standard deviations of the neighborhood."),
    ] = 3.0,
    curved: Annotated[
        bool, typer.Option("--curved", help="Find each direction again at every step; slower.")
    ] = False,
    format: options.AnimationFormat = options.Format.gif,
    fps: options.Fps = 12,
    loop: options.Loop = True,
) -> None:
    """Step along the top components, or other directions, and write decoded animations."""
    from latentlab.figures.animation import check_format
    from latentlab.recipes.walking import USUAL_DIRECTIONS, check_curved, walk_and_save
    from latentlab.walks.traversal import check_steps

    check_steps(USUAL_DIRECTIONS if components is None else components, span, steps)
    suffix = f".{format.value}"
    check_format(suffix, fps)
    if image is None:
        _refuse_image_options(samples, finding)
        start = _resume(run, machine, output)
    elif run is not None:
        raise UsageError("IMAGE and --run", "one of them", "leave one of the two out")
    else:
        chosen = samples.of_image()
        if curved:
            check_curved(chosen.neighborhood)
        begin = _start_from_finder if any(vars(finding).values()) else _start_from_pca
        start = begin(image, machine, chosen, finding, components, output, context.obj)
    with progress_bar(quiet=output.quiet) as progress:
        saved = walk_and_save(
            start.vae,
            start.latent,
            start.found,
            start.folder,
            n_components=components,
            span=span,
            steps=steps,
            curved=curved,
            seed=samples.seed or 0,
            dtype=start.dtype,
            suffix=suffix,
            fps=fps,
            loop=loop,
            command_line=context.obj,
            progress=progress,
        )
    say_tiling(start.vae, quiet=output.quiet)
    facts = saved.printed()
    if output.json:
        print_json(facts)
    elif not output.quiet:
        _print_summary(facts)


def _resume(run: Path | None, machine: Machine, output: Output) -> _Start:
    """Return the start that an earlier run wrote down, with its model unless another is chosen."""
    from latentlab.recipes.walking import read_run

    earlier = read_run(run, output.out)
    say(f"resuming {earlier.folder}", quiet=output.quiet)
    folder, tile = output.out or earlier.folder, machine.tile or earlier.model["tile"]
    if machine.model:
        vae = machine.load(quiet=output.quiet, tile=tile)
    else:
        vae = machine.load(
            ChosenModel(earlier.model["source"], f"the run in {earlier.folder}"),
            quiet=output.quiet,
            dtype=earlier.model["dtype"] if machine.dtype == "auto" else machine.dtype,
            revision=earlier.model["revision"],
            tile=tile,
        )
        earlier.check_weights(vae)
    dtype = earlier.dtype if machine.dtype == "auto" else machine.dtype
    return _Start(vae, earlier.latent, earlier.found, folder, dtype)


def _start_from_pca(
    image: str,
    machine: Machine,
    samples: Samples,
    finding: _Finding,
    components: int | None,
    output: Output,
    command_line: list[str],
) -> _Start:
    """Return the start that a new pca run gives."""
    from latentlab.components.checks import KEPT_COMPONENTS
    from latentlab.recipes.analysis import analyze, check_analysis

    plan = samples.plan(machine.dtype)
    check_analysis(plan, image, None, output.out)
    vae = machine.load(quiet=output.quiet)
    with progress_bar(quiet=output.quiet) as progress:
        found = analyze(
            vae,
            image,
            size=samples.size,
            **vars(plan),
            n_components=components if components and components > KEPT_COMPONENTS else None,
            folder=output.out,
            command_line=command_line,
            say=lambda message: say(message, quiet=output.quiet),
            progress=progress,
        )
    return _Start(vae, found.pca.center, found.pca, found.folder, machine.dtype)


def _start_from_finder(
    image: str,
    machine: Machine,
    samples: Samples,
    finding: _Finding,
    components: int | None,
    output: Output,
    command_line: list[str],
) -> _Start:
    """Return the start that a new directions run gives."""
    from latentlab.recipes.finding import (
        Search,
        check_search,
        find_around,
        save_found,
        split_options,
    )

    plan, finder = samples.plan(), finding.finder or "pca"
    settings = {
        **plan.options,
        **({"features": finding.features} if finding.features else {}),
    }
    mine, rest = split_options(finder, settings)
    plan = replace(plan, options=rest)
    search = Search(finder, components, mine, finding.labels is not False)
    check_search(search, plan, image, output.out)
    vae = machine.load(quiet=output.quiet)
    with progress_bar(quiet=output.quiet) as progress:
        found = find_around(vae, image, search, plan, size=samples.size, progress=progress)
    saved = save_found(vae, found, output.out, command_line)
    for note in found.directions.notes:
        say(note, quiet=output.quiet)
    return _Start(vae, found.latent, found.directions, saved.folder, machine.dtype)


def _refuse_image_options(samples: _OwnSamples, finding: _Finding) -> None:
    options = {**vars(samples), **vars(finding)}
    given = [
        f"--{'set' if name == 'settings' else name}"
        for name, value in options.items()
        if value is not None
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} without IMAGE",
            "an image for that",
            f"pass IMAGE, or leave {' and '.join(given)} out to resume a run",
        )


def _print_summary(facts: Mapping[str, Any]) -> None:
    from rich.console import Console

    curved = facts.get("curved", False)
    headings = ["", "variance", "change/σ", "monotone", "flicker", "drift / ‖z‖", "clipped"]
    rows = [
        (
            row["label"],
            shown(row["explained_variance_ratio"], ".1%"),
            shown(row["pixel_change"], ".4f"),
            shown(row["monotonicity"], ".2f"),
            shown(row["flicker"], ".2f"),
            shown(row["drift_relative"], ".3f"),
            shown(row["clipped"], ".1%"),
            *([f"{sum(row['turning']):.2f} rad"] if curved else []),
        )
        for row in facts["components"]
    ]
    console = Console(highlight=False, markup=False)
    console.print(facts["title"], style="bold")
    console.print(table(rows, [*headings, *(["turned"] if curved else [])]))
    print_paths(facts)
