"""``latentlab pca``: an image's neighborhood, its principal components, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.chance.nulls import NULLS
from latentlab.cli import options
from latentlab.cli.completion import names_of
from latentlab.cli.console import SHORTEN_SAMPLING, progress_bar, say, shown
from latentlab.cli.foreign import (
    Bucket,
    Key,
    Layout,
    Links,
    Space,
    holds_latents,
    open_foreign,
    say_faults,
)
from latentlab.cli.grouping import grouped
from latentlab.cli.inputs import expand
from latentlab.cli.machine import Machine
from latentlab.cli.options import Output, Samples, given_options, parse_names, parse_size
from latentlab.cli.several import RunOne, run_each
from latentlab.cli.summaries import count_above, summarize, summarize_images
from latentlab.encoding.scale import Scales
from latentlab.errors import UsageError
from latentlab.neighborhoods import DEFAULT_NEIGHBORHOOD

if TYPE_CHECKING:
    from latentlab.loaders import LatentVAE
    from latentlab.recipes.analysis import Analysis
    from latentlab.results.folders import Saved

_PARTS = {DEFAULT_NEIGHBORHOOD: "whole", "tokens": "tokens"}
_ABOUT_IMAGES = (
    *("model", "size", "samples", "region", "nulls", "device", "dtype", "tile", "settings"),
    *("compiled", "controls"),
)
"""Parameters that a store does not take."""
_ABOUT_ONE = (
    *("nulls", "components", "randomized"),
    *("key", "layout", "space", "follow_links", "bucket"),
)
"""Parameters that a folder of images does not take: only numbers of each image are kept."""


_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "PC 1": lambda facts: f"{facts['explained_variance_ratio'][0]:.1%}",
    "k90": lambda facts: shown(facts["k90"], "d"),
    "participation ratio": lambda facts: shown(facts["participation_ratio"], ".1f"),
    "above chance": partial(count_above, why=False),  # each run above has said why
    "log fit R²": lambda facts: shown(facts["log_fit_r2"], ".3f"),
    "reconstruction": lambda facts: f"{shown(facts['reconstruction_psnr'], '.2f')} dB",
}
"""Heading → cell, in the table of several images."""


@grouped
def pca(
    context: typer.Context,
    image: Annotated[
        list[str],
        typer.Argument(
            help="Image files, sample:flower or sample:china, each analyzed by itself. Or a store, "
            "or a file or folder of latents."
        ),
    ],
    machine: Machine,
    samples: Samples,
    output: Output,
    components: Annotated[
        int | None,
        typer.Option(help="Number of components to keep. Default: 64, or the rank if smaller."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="With a store: the folder of its images, to show those with extreme scores."
        ),
    ] = None,
    randomized: Annotated[
        bool, typer.Option("--randomized", help="Approximate the leading components only.")
    ] = False,
    nulls: Annotated[
        str | None,
        typer.Option(
            autocompletion=names_of(NULLS.names),
            help="Null models to compare with: {nulls}, several separated by commas, or none. "
            "Default: those that match the neighborhood, if they take little time.",
        ),
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="random-weights: encode the same copies with the same architecture, untrained. "
            "Takes as long again. Pixels and an orthonormal transform are always compared.",
        ),
    ] = None,
    figure_format: options.FigureFormat = "png",
    key: Key = None,
    layout: Layout = None,
    space: Space = None,
    follow_links: Links = False,
    bucket: Bucket = None,
) -> None:
    """Find the principal components around an image or of a store."""
    from latentlab.store.opening import is_store

    given = expand(image)
    fit: dict[str, Any] = {
        "n_components": components,
        "solver": "randomized" if randomized else "auto",
        "command_line": context.obj,
        "figure_format": figure_format,
    }
    foreign = len(given) == 1 and not is_store(given[0]) and holds_latents(given[0])
    if foreign or (len(given) == 1 and is_store(given[0])):
        _refuse_image_options(context, *(["model", "device"] if foreign else []))
        fit |= {"images": images, "bucket": bucket}
        store: Any = given[0]
        if foreign:
            how = {"follow_links": follow_links, "quiet": output.quiet}
            store = open_foreign(Path(store), key, layout, space, machine.model, **how)
            with progress_bar(quiet=output.quiet) as progress:
                store, before = store.finite(progress), len(store.faults)
            say_faults(store, quiet=output.quiet, before=before)
        saved = _of_store(store, _PARTS[samples.neighborhood], samples.seed, output, fit)
        if saved:
            output.show(saved.printed(), summarize)
        return
    more = parse_names("--controls", controls) or ()
    if images is None and (files := _folder_of_images(context, given)):
        _of_folder(context, files, machine, samples, output, figure_format, more)
        return
    if wrong := given_options(context, ("key", "layout", "space", "follow_links", "bucket")):
        raise UsageError(f"{', '.join(wrong)} with an image", "latents", "leave them out")
    if images is not None:
        raise UsageError("--images with an image", "a store", "leave --images out")
    names = parse_names("--nulls", nulls)
    for name in names or ():
        NULLS.check(name)

    def begin(first: str, scales: Scales | None) -> RunOne:
        how = {**fit, "nulls": names, "more": more, "scales": scales}
        _, run = begin_analysis(first, machine, samples, output, **how)
        return lambda image, folder: run(image, folder).saved.printed()

    show = partial(output.show, summarize=summarize)
    run_each(context, given, output, begin, show, _COLUMNS)


def _folder_of_images(context: typer.Context, given: list[str]) -> list[str]:
    """Return the images of a folder, given alone and with the neighborhood of copies by name."""
    from latentlab.images.checking import list_images

    neighborhood = context.params["neighborhood"]
    asked = neighborhood == DEFAULT_NEIGHBORHOOD and given_options(context, ["neighborhood"])
    if len(given) != 1 or not asked or not Path(given[0]).is_dir():
        return []
    if (Path(given[0]) / "run.json").exists():
        return []
    return [str(path) for path in list_images(Path(given[0]))]


def _of_folder(
    context: typer.Context,
    files: list[str],
    machine: Machine,
    samples: Samples,
    output: Output,
    figure_format: str,
    controls: Sequence[str],
) -> None:
    if wrong := given_options(context, _ABOUT_ONE):
        raise UsageError(
            f"{', '.join(wrong)} with a folder of images",
            "an image",
            f"leave {', '.join(wrong)} out, or pass the images one by one",
        )
    plan = samples.plan(machine.dtype)
    from latentlab.recipes.controls import check_controls
    from latentlab.recipes.entanglement import entanglement

    check_controls(controls, plan.neighborhood)
    vae = machine.load(quiet=output.quiet)
    with progress_bar(quiet=output.quiet, shorten=SHORTEN_SAMPLING) as progress:
        _, saved = entanglement(
            vae,
            files,
            size=parse_size(samples.size),
            n_samples=plan.n_samples,
            options=plan.options,
            controls=controls,
            seed=plan.seed,
            dtype=plan.dtype,
            folder=output.out,
            command_line=context.obj,
            figure_format=figure_format,
            say=partial(say, quiet=output.quiet),
            progress=progress,
        )
    output.show(saved.printed(), summarize_images)


def begin_analysis(
    first: str,
    machine: Machine,
    samples: Samples,
    output: Output,
    *,
    nulls: list[str] | None = None,
    more: Sequence[str] = (),
    **fit: Any,
) -> tuple[LatentVAE, Callable[[str, Path | None], Analysis]]:
    """Return the model, and what analyzes an image into a folder, as the options ask for it.

    What can be wrong with the options is found with the first image, before the model is loaded.
    """
    plan = samples.plan(machine.dtype)
    from latentlab.recipes.analysis import analyze, check_analysis

    check_analysis(plan, first, nulls, output.out, more)
    how = {**fit, **vars(plan), "nulls": nulls, "controls": more, "size": parse_size(samples.size)}
    vae = machine.load(quiet=output.quiet)

    def run(image: str, folder: Path | None) -> Analysis:
        quiet = output.quiet
        with progress_bar(quiet=quiet, shorten=SHORTEN_SAMPLING) as progress:
            tell = partial(say, quiet=quiet)
            return analyze(vae, image, folder=folder, say=tell, progress=progress, **how)

    return vae, run


def _of_store(
    store: Any, parts: str, seed: int, output: Output, fit: Mapping[str, Any]
) -> Saved | None:
    from latentlab.machine.distributed import joined_ranks
    from latentlab.recipes.stores import analyze_store

    with (
        joined_ranks() as ranks,
        progress_bar(quiet=output.quiet or not ranks.is_first) as progress,
    ):
        found = analyze_store(
            store,
            parts=parts,
            seed=seed,
            folder=output.out,
            ranks=ranks,
            progress=progress,
            **fit,
        )
    return found.saved if found else None


def _refuse_image_options(context: typer.Context, *allowed: str) -> None:
    """Raise UsageError for options that apply only to an image or its model."""
    wrong = given_options(context, [name for name in _ABOUT_IMAGES if name not in allowed])
    neighborhood = context.params["neighborhood"]
    if neighborhood != "tokens":
        given = given_options(context, ["neighborhood"])
        wrong += [f"{option} {neighborhood}" for option in given]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} with a store",
            "a store alone, or -k tokens for its cells",
            f"leave {', '.join(wrong)} out or pass an image",
        )
