"""``latentlab store``: import, inspect, verify and export stores of latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, print_parts, progress_bar, say, table
from latentlab.cli.foreign import Bucket, Key, Layout, Links, Model, Space, open_foreign
from latentlab.cli.help import GroupedCommand
from latentlab.cli.inputs import check_store

store = typer.Typer(
    help="Import, inspect, verify and export stores of latents.",
    short_help="Import, inspect, verify and export stores of latents.",  # shells cut help off
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Argument(help="A store.")]
DAMAGED = 3


@store.command("info", cls=GroupedCommand)
def info(folder: Folder, json: options.Json = False) -> None:
    """Print what a store holds and how it was made."""
    check_store(folder)
    from latentlab.store.reading import open_store

    facts = open_store(folder).summary()
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):16}{_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count:,}" for key, count in value.items()) or "–"
    if type(value) is int:
        return f"{value:,}"
    return "–" if value is None else str(value)


@store.command("verify", cls=GroupedCommand)
def verify(
    folder: Folder,
    pictures: Annotated[
        Path | None, typer.Option(help="The folder of the images; each of them is hashed again.")
    ] = None,
    follow_links: Links = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check every byte of a store, and of its images if given.

    The exit code is 3 if anything is wrong.
    """
    check_store(folder)
    from latentlab.store.opening import open_source
    from latentlab.store.verification import verify_store

    source = open_source(pictures, follow_links=follow_links) if pictures else None
    with progress_bar(quiet=quiet) as progress:
        found = verify_store(folder, source, progress=progress)
    if json:
        print_json(found.summary())
    for problem in found.problems:
        say(problem, quiet=quiet)
    if found.count:
        say(f"problems: {found.count:,}", quiet=quiet)
        raise typer.Exit(DAMAGED)
    if not json and not quiet:
        checked = f", images: {found.pictures:,}" if pictures else ""
        print(f"as they were written: shards: {found.shards:,}{checked}")


@store.command("export", cls=GroupedCommand)
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(*options.OUT, help="A file in .safetensors, .npy or .npz.")],
    dtype: Annotated[str, typer.Option(help="stored or float32.")] = "stored",
    bucket: Bucket = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write all latents as one array, with the paths of the images."""
    check_store(folder)
    from latentlab.store.exporting import export_store
    from latentlab.store.reading import open_store

    opened = open_store(folder)
    opened = opened.bucket(bucket) if bucket else opened
    files = [str(path) for path in export_store(opened, out, dtype=dtype)]
    if json:
        print_json({"pictures": len(opened), "shape": [len(opened), *opened.shape], "files": files})
    elif not quiet:
        print(*files, sep="\n")


@store.command("import", cls=GroupedCommand)
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="A file, folder or tar file of latents: .npy, .npz, .pt, .safetensors."
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The store: a new folder.")],
    key: Key = None,
    layout: Layout = None,
    space: Space = None,
    model: Model = None,
    follow_links: Links = False,
    store_dtype: Annotated[
        str | None,
        typer.Option(help="Dtype of the stored latents. Default: as they are, else float32."),
    ] = None,
    per_shard: Annotated[int, typer.Option(min=1, help="Latents in one file.")] = 256,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Copy latents that another program wrote into a store.

    Their labels and sizes are kept.
    """
    from latentlab.store.importing import import_latents

    found = open_foreign(source, key, layout, space, model, follow_links=follow_links, quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        made = import_latents(
            found, folder, store_dtype=store_dtype, per_shard=per_shard, progress=progress
        )
    facts = made.summary()
    if json:
        print_json(facts)
    elif not quiet:
        print(f"latents: {len(made):,}, skipped: {made.skipped:,}, space: {facts['space']}")
        print(made.folder)


@store.command("stats", cls=GroupedCommand)
def stats(
    source: Annotated[Path, typer.Argument(help="A store, or files of latents.")],
    worst: Annotated[
        int, typer.Option(min=0, help="Name this many of the latents farthest from the rest.")
    ] = 0,
    key: Key = None,
    layout: Layout = None,
    space: Space = None,
    model: Model = None,
    follow_links: Links = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Print statistics and the constants that a trainer needs."""
    from latentlab.store.measuring import gains_from_fast_loops, has_fast_loops, measure_store

    how = {"follow_links": follow_links, "quiet": quiet}
    opened = open_foreign(source, key, layout, space, model, **how)
    if gains_from_fast_loops(opened) and not has_fast_loops(opened):
        say(
            "Compiled loops would save a third of the time: pip install 'latentlab[fast]'.",
            quiet=quiet,
        )
    with progress_bar(quiet=quiet) as progress:
        facts = measure_store(opened, worst=worst, progress=progress)
    for name, why in facts.get("damaged", {}).items():
        say(f"{name}: {why}", quiet=quiet)
    if json:
        print_json(facts)
    elif not quiet:
        print_parts(_summary_of(facts))


def _summary_of(facts: dict[str, Any]) -> list[Any]:
    channels, spatial, constants = facts["channels"], facts["spatial"], facts["constants"]
    columns = [
        *(channels[name] for name in ("mean", "std", "skewness", "excess_kurtosis")),
        *(channels["percentiles"][name] for name in ("P0.1", "P50", "P99.9")),
        spatial["corners"],
    ]
    rows = [
        [str(number), *(f"{value:.4g}" for value in row)]
        for number, row in enumerate(zip(*columns, strict=True))
    ]
    headings = ("channel", "mean", "std", "skewness", "kurtosis", "P0.1", "P50", "P99.9", "corners")
    outliers, dead = facts["outlier_cells"], channels["dead"]
    lines = [
        f"{facts['latents']:,} latents of {facts['model']}, space {facts['space']}",
        table(rows, headings),
        "corners: the mean of the four corner cells minus the mean, in standard deviations, "
        f"± {1.96 * spatial['standard_error']:.2g} by chance if cells vary alike",
        f"dead channels: {', '.join(map(str, dead)) or 'none'}",
        f"outlier cells: {outliers['share']:.3%} (norm above {outliers['norm_above']:.3g})",
        f"not finite: {facts['non_finite_share']:.3%} of the values, in "
        f"{facts['latents_non_finite']:,} latents, which are left out",
        *(f"{name}: {_interval(constants[name])}" for name in ("scaling_factor", "shift_factor")),
        f"latents_mean, latents_std: mean and std above; model space = {constants['formula']}",
    ]
    if facts["percentiles_of_every"] > 1:
        lines.append(f"percentiles of every latent number {facts['percentiles_of_every']}")
    worst = [[one["path"], f"{one['distance']:.3g}"] for one in facts.get("worst", [])]
    return [*lines, *([table(worst, ("farthest", "distance"))] if worst else [])]


def _interval(found: dict[str, float]) -> str:
    return f"{found['value']:.6g} (95 % interval {found['lower']:.6g}–{found['upper']:.6g})"
