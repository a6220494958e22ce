"""``latentlab traverse``: step along the top components and write decoded animations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from latentlab.cli import options
from latentlab.cli.completion import names_of
from latentlab.cli.console import progress_bar, say, shown, table
from latentlab.cli.defaults import ChosenModel
from latentlab.cli.directions import begin_search
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import check_image, check_run
from latentlab.cli.machine import Machine, say_tiling
from latentlab.cli.options import Animation, Output, Samples, given_options
from latentlab.cli.pca import begin_analysis
from latentlab.directions import FINDERS
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.components.pca import PCA
    from latentlab.latents import Directions
    from latentlab.loaders import LatentVAE

    _Start: TypeAlias = tuple[LatentVAE, PCA | Directions, Path, str]
    """Where a walk begins: model, directions, the folder for the results, and a dtype."""

_SHORTEN = "lower --size (half the side takes a quarter of the time), --steps or --components"
_COLUMNS = (
    ("explained_variance_ratio", "variance", ".1%"),
    ("pixel_change", "change/σ", ".4f"),
    ("monotonicity", "monotone", ".2f"),
    ("flicker", "flicker", ".2f"),
    ("drift_relative", "drift / ‖z‖", ".3f"),
    ("clipped", "clipped", ".1%"),
)
"""Key of a component's facts, its heading, and its format."""


@grouped
def traverse(
    context: typer.Context,
    machine: Machine,
    samples: Samples,
    output: Output,
    animation: Animation,
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
    finder: Annotated[
        str | None,
        typer.Option(
            autocompletion=names_of(FINDERS.names),
            help="Walk along the directions of this finder: {finders}. Default: pca.",
        ),
    ] = None,
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--no-labels",
            help="Label each row with what it correlates with. Default with --finder.",
        ),
    ] = None,
    features: options.Features = None,
    figure_format: options.FigureFormatBesideAnimations = "png",
) -> None:
    """Walk along the top components, or other directions.

    Writes an animation of each and a sheet of all.
    """
    if image is None:
        _refuse_image_options(context)
        check_run(run)
    elif run is not None:
        raise UsageError("IMAGE and --run", "one of the two", "leave one of them out")
    else:
        check_image(image)
        FINDERS.check(finder or "pca")
        samples.plan()
    from latentlab.recipes.starting import USUAL_DIRECTIONS
    from latentlab.recipes.walking import check_curved, walk_and_save
    from latentlab.walks.traversal import check_steps

    check_steps(USUAL_DIRECTIONS if components is None else components, span, steps)
    how = animation.checked()
    if image is None:
        options.say_sheet_stays_png(figure_format, quiet=output.quiet)
        vae, found, folder, dtype = _resume(run, machine, output)
    else:
        if curved:
            check_curved(samples.neighborhood)
        begin = _start_from_finder if finder or labels or features else _start_from_pca
        vae, found, folder, dtype = begin(image, machine, samples, output, context)
    with progress_bar(quiet=output.quiet, shorten=_SHORTEN) as progress:
        saved = walk_and_save(
            vae,
            found,
            folder,
            n_components=components,
            span=span,
            steps=steps,
            curved=curved,
            seed=samples.seed,
            dtype=dtype,
            **how,
            command_line=context.obj,
            progress=progress,
        )
    say_tiling(vae, quiet=output.quiet)
    output.show(saved.printed(), _summarize)


def _resume(run: Path | None, machine: Machine, output: Output) -> _Start:
    """Return the start that an earlier run recorded, with its model unless another is chosen."""
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
    return vae, earlier.found, folder, dtype


def _start_from_pca(
    image: str, machine: Machine, samples: Samples, output: Output, context: typer.Context
) -> _Start:
    """Return the start at a new pca run."""
    from latentlab.components.checks import KEPT_COMPONENTS

    count = context.params["components"]
    kept = count if count and count > KEPT_COMPONENTS else None
    how = {
        "n_components": kept,
        "command_line": context.obj,
        "figure_format": context.params["figure_format"],
    }
    vae, analyze = begin_analysis(image, machine, samples, output, **how)
    found = analyze(image, output.out)
    return vae, found.pca, found.folder, machine.dtype


def _start_from_finder(
    image: str, machine: Machine, samples: Samples, output: Output, context: typer.Context
) -> _Start:
    """Return the start at a new directions run."""
    from latentlab.recipes.finding import save_found

    asked = context.params
    how = {"features": asked["features"], "labels": asked["labels"] is not False, "compare": ()}
    finder = asked["finder"] or "pca"
    vae, find = begin_search(image, machine, samples, output, finder, asked["components"], **how)
    found = find(image)
    saved = save_found(vae, found, output.out, context.obj)
    options.say_sheet_stays_png(asked["figure_format"], quiet=output.quiet)
    for note in found.directions.notes:
        say(note, quiet=output.quiet)
    return vae, found.directions, saved.folder, machine.dtype


def _refuse_image_options(context: typer.Context) -> None:
    about_images = [field.name for field in fields(Samples)] + ["finder", "labels", "features"]
    given = given_options(context, about_images)
    if given:
        raise UsageError(
            f"{', '.join(given)} without IMAGE",
            "an image to sample around",
            f"pass IMAGE, or leave out {', '.join(given)} to resume a run",
        )


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
    rows = [
        [row["label"], *(shown(row[key], form) for key, _, form in _COLUMNS)]
        for row in facts["components"]
    ]
    headings = ["", *(heading for _, heading, _ in _COLUMNS)]
    if facts.get("curved"):
        headings.append("turned")
        for row, cells in zip(facts["components"], rows, strict=True):
            cells.append(f"{sum(row['turning']):.2f} rad")
    return [table(rows, headings), *_by_chance(facts.get("random"))]


def _by_chance(random: Mapping[str, Any] | None) -> list[str]:
    if random is None:
        return []
    p_value = random["p_of_flicker"]
    sure = "" if p_value is None else f", p {p_value:.2g}"
    return [
        f"{random['directions']} random directions at the same change of the image "
        f"(ΔE {random['image_change']:.1f}): monotonicity {random['monotonicity']:.2f}, flicker in "
        f"Lab {random['flicker']:.2f} (directions {random['flicker_of_directions']:.2f}); the "
        f"directions flicker less in {random['flickers_less']:.0%} of the pairs{sure}"
    ]
