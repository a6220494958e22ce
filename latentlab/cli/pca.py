"""``latentlab pca``: an image's neighborhood, its principal components, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.chance.nulls import NULLS
from latentlab.cli import options
from latentlab.cli.completion import names_of
from latentlab.cli.console import SHORTEN_SAMPLING, progress_bar, say, shown, styled, table, tiling
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
    "compiled",
)
"""Parameters that a store does not take."""


_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "PC 1": lambda facts: f"{facts['explained_variance_ratio'][0]:.1%}",
    "k90": lambda facts: shown(facts["k90"], "d"),
    "participation ratio": lambda facts: shown(facts["participation_ratio"], ".1f"),
    "above chance": lambda facts: _count(facts),
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
            help="Images, sample:flower or sample:china, each analyzed by itself; or a store, or "
            "files, of latents."
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
    figure_format: options.FigureFormat = "png",
    key: Key = None,
    layout: Layout = None,
    space: Space = None,
    follow_links: Links = False,
    bucket: Bucket = None,
) -> None:
    """Plot the cumulative explained variance around an image, or of a whole store."""
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
            output.show(saved.printed(), _summarize)
        return
    if images is None and (files := _folder_of_images(context, given)):
        _of_folder(context, files, machine, samples, output)
        return
    if wrong := given_options(context, ("key", "layout", "space", "follow_links", "bucket")):
        raise UsageError(f"{', '.join(wrong)} with an image", "latents", "leave them out")
    if images is not None:
        raise UsageError("--images with an image", "a store", "leave --images out")
    names = parse_names("--nulls", nulls)
    for name in names or ():
        NULLS.check(name)

    def begin(first: str, scales: Scales | None) -> RunOne:
        how = {**fit, "nulls": names, "scales": scales}
        _, run = begin_analysis(first, machine, samples, output, **how)
        return lambda image, folder: run(image, folder).saved.printed()

    show = partial(output.show, summarize=_summarize)
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
    context: typer.Context, files: list[str], machine: Machine, samples: Samples, output: Output
) -> None:
    plan = samples.plan(machine.dtype)
    from latentlab.recipes.entanglement import entanglement

    vae = machine.load(quiet=output.quiet)
    with progress_bar(quiet=output.quiet, shorten=SHORTEN_SAMPLING) as progress:
        _, saved = entanglement(
            vae,
            files,
            size=parse_size(samples.size),
            n_samples=plan.n_samples,
            options=plan.options,
            seed=plan.seed,
            dtype=plan.dtype,
            folder=output.out,
            command_line=context.obj,
            say=partial(say, quiet=output.quiet),
            progress=progress,
        )
    output.show(saved.printed(), _summarize_images)


_MEASURES = {
    "participation_ratio": ("participation ratio", ".1f"),
    "k90": ("k90", ".1f"),
    "linear": ("explained linearly", ".0%"),
    "cubic": ("with squares and cubes", ".0%"),
    "pairwise": ("with products of pairs", ".0%"),
}
"""Measure → its name for people, and its format."""


def _summarize_images(facts: Mapping[str, Any]) -> list[Any]:
    """Return a table of means over images, with controls and what differs from them."""

    def cell(found: Mapping[str, Any], how: str) -> str:
        ends = (shown(found["lower"], how), shown(found["upper"], how))
        return f"{shown(found['mean'], how)} ({ends[0]} to {ends[1]})"

    who = list(facts["means"])
    head = ["", *who, *(f"model − {name}" for name in facts["differences"])]
    rows = [
        [name]
        + [cell(facts["means"][one][measure], how) for one in who]
        + [cell(found[measure], how) for found in facts["differences"].values()]
        for measure, (name, how) in _MEASURES.items()
    ]
    return [
        table(rows, head),
        f"means over {facts['n_images']} images, with 95 % intervals for other images",
    ]


def begin_analysis(
    first: str,
    machine: Machine,
    samples: Samples,
    output: Output,
    *,
    nulls: list[str] | None = None,
    **fit: Any,
) -> tuple[LatentVAE, Callable[[str, Path | None], Analysis]]:
    """Return the model, and what analyzes an image into a folder, as the options ask for it.

    What can be wrong with the options is found with the first image, before the model is loaded.
    """
    plan = samples.plan(machine.dtype)
    from latentlab.recipes.analysis import analyze, check_analysis

    check_analysis(plan, first, nulls, output.out)
    how = {**fit, **vars(plan), "nulls": nulls, "size": parse_size(samples.size)}
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


def _summarize(facts: Mapping[str, Any]) -> list[Any]:
    return [table(_summary_rows(facts)), facts["verdict"], styled(facts["statement"], "dim")]


def _summary_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    shares = facts["explained_variance_ratio"][:5]
    chance = ", ".join(
        f"{name} {shown(null['log_fit_r2'], '.3f')}" for name, null in facts["null"].items()
    )
    fit = f"{shown(facts['log_fit_r2'], '.3f')} (chance: {chance or '–'})"
    return [
        (f"variance of PC 1–{len(shares)}", ", ".join(f"{share:.1%}" for share in shares)),
        ("k for 50, 90, 95, 99 %", ", ".join(shown(facts[f"k{p}"], "d") for p in (50, 90, 95, 99))),
        *_effective_dimension(facts),
        *_additivity(facts),
        *_controls(facts),
        *_population(facts),
        ("components above chance", _count(facts)),
        ("R² of the log fit", fit),
        *_how_exact(facts),
        *([("tiled", tiling(facts["tiles"]))] if "tiles" in facts else []),
    ]


def _how_exact(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "store" not in facts:
        return [("reconstruction", f"{shown(facts['reconstruction_psnr'], '.2f')} dB PSNR")]
    spread = f"mean {facts['latent_mean']:.3f}, standard deviation {facts['latent_std']:.3f}"
    return [("space", f"{facts['space']}, cells of {spread}"), ("method", _method(facts))]


def _method(facts: Mapping[str, Any]) -> str:
    bounds = facts["eigenvalue_error_bounds"]
    if bounds is None:
        return f"{facts['method']}, exact"
    largest = max(
        bound / value for bound, value in zip(bounds, facts["explained_variance"], strict=True)
    )
    return f"{facts['method']}, eigenvalues within {largest:.1%}"


def _effective_dimension(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if facts["participation_ratio"] is None:  # of a partial spectrum
        return []
    found = facts["effective_dimension"]
    interval = ""
    if found is not None:
        ends = f"{shown(found['lower'], '.1f')}–{shown(found['upper'], '.1f')}"
        interval = f" (95 % interval {ends})"
    ratio = shown(facts["participation_ratio"], ".1f")
    unbiased = shown(facts["participation_ratio_corrected"], ".1f")
    if found is not None:
        corrected = found["corrected"]
        unbiased += f" ({shown(corrected['lower'], '.1f')}–{shown(corrected['upper'], '.1f')})"
    return [
        ("participation ratio", f"{ratio}{interval}"),
        ("corrected for sampling", unbiased),
    ]


def _population(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return between which numbers k90 of infinitely many samples lies."""
    if facts["intervals"] is None:
        return []
    k90 = facts["intervals"]["k90"]
    most = shown(k90["population_upper"], ".0f")
    bounds = f"≥ {shown(k90['lower'], '.0f')}"
    return [
        ("k for 90 %, any N", bounds if k90["population_upper"] is None else f"{bounds}, ≤ {most}")
    ]


def _additivity(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the known factors explain of left-out samples, if any are known."""
    if not facts.get("additivity"):
        return []
    said = {"linear": "linearly", "cubic": "with cubes", "pairwise": "with products of pairs"}
    parts = [
        f"{one['value']:.0%} ({one['lower']:.0%}–{one['upper']:.0%}) {said[one['model']]}"
        for one in facts["additivity"]["shares"]
    ]
    return [(f"explained by the {len(facts['additivity']['factors'])} factors", ", ".join(parts))]


def _controls(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the same copies show without the VAE, where there are copies."""
    rows = []
    for name, found in facts.get("controls", {}).items():
        shares = ", ".join(f"{one['value']:.0%}" for one in found["additivity"])
        ratio = shown(found["participation_ratio"], ".1f")
        parts = f"participation ratio {ratio}, k90 {found['k90']}, factors explain {shares}"
        how = "as pixels" if name == "pixels" else f"through {name}"
        rows.append((f"same copies {how}", parts))
    return rows


def _count(facts: Mapping[str, Any]) -> str:
    """Return what every null that was drawn counts, or why nothing is counted."""
    first = facts["components_above_null_of"]
    if first is None:
        return "–"
    drawn = [name for name, null in facts["null"].items() if null["draws"] or name == first]
    counts = ", ".join(
        f"{_at_least(facts, facts['null'][name]['components_above'])} ({name} null)"
        for name in sorted(drawn, key=lambda name: name != first)
    )
    if some := facts.get("subsample"):
        counts += f", of {some['n_samples']:,} rows chosen at random"
    reason = facts["components_not_counted"]
    return counts if reason is None else f"not claimed, since {reason}: {counts}"


def _at_least(facts: Mapping[str, Any], count: int) -> str:
    known = len(facts["explained_variance"])
    partial = known < min(facts["n_samples"] - 1, facts["n_features"])
    return f"{'≥ ' if partial and count == known else ''}{count}"
