"""``latentlab models``: list the named models and download them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli import options
from latentlab.cli.console import print_json, print_parts, progress_bar, say, table
from latentlab.cli.inputs import check_source
from latentlab.errors import UsageError, counted
from latentlab.loaders.built_in import BUILT_IN

if TYPE_CHECKING:
    from latentlab.loaders.catalogue import CatalogueEntry
    from latentlab.loaders.hub_cache import FetchedModel


def models(
    download: Annotated[
        str | None, typer.Option(metavar="NAME", help="Fetch this model into the hub's cache.")
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Measure mean and standard deviation of this model's own latents, over --images.",
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder of images, or a tar file, for --measure.")
    ] = None,
    samples: Annotated[int, typer.Option(min=2, help="Images that --measure reads at most.")] = 256,
    out: Annotated[
        Path,
        typer.Option(*options.OUT, help="JSON file that --measure writes, for MODEL@FILE.json."),
    ] = Path("scale.json"),
    json_output: options.Json = False,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """List the named models, download one, or measure its scale."""
    if measure is not None:
        facts = _measure(measure, images, samples, out, offline=offline, quiet=quiet)
        _print_measured(facts, out, json_output=json_output)
    elif download is None:
        _list(json_output=json_output, quiet=quiet)
    else:
        from latentlab.loaders.catalogue import find_entry

        _download(find_entry(download), json_output=json_output, offline=offline, quiet=quiet)


def _list(*, json_output: bool, quiet: bool) -> None:
    from latentlab.loaders.catalogue import CATALOGUE

    rows = [_describe(entry, _find(entry)) for entry in CATALOGUE.values()]
    if json_output:
        built_in = [{"name": name, "built_in": True, "note": BUILT_IN[name]} for name in BUILT_IN]
        print_json({"built_in": built_in, "models": rows})
        return
    _print_table(rows)
    say("Fetch one with: latentlab models --download NAME", quiet=quiet)


def _download(entry: CatalogueEntry, *, json_output: bool, offline: bool, quiet: bool) -> None:
    from latentlab.loaders.hub import fetch

    with progress_bar(quiet=quiet, in_bytes=True) as progress:
        model = fetch(
            entry.repo,
            subfolder=entry.subfolder,
            files=entry.files,
            offline=offline,
            progress=progress,
        )
    if json_output:
        print_json({**_describe(entry, model), "from_cache": model.from_cache})
    else:
        print(f"{entry.name}: {model.folder}")


def _measure(
    model: str, images: Path | None, samples: int, out: Path, *, offline: bool, quiet: bool
) -> dict[str, Any]:
    """Write the measured scale of a model, and return its facts."""
    if images is None:
        raise UsageError("--measure without images", "a folder of images", "pass --images FOLDER")
    check_source(images)
    from latentlab.loaders.load import load_vae
    from latentlab.machine.files import write_bytes
    from latentlab.recipes.measuring import measure_scale

    vae = load_vae(model, normalization="none", offline=offline)
    with progress_bar(quiet=quiet, shorten="lower --samples") as progress:
        measured = measure_scale(vae, images, n_images=samples, progress=progress)
    facts = measured.facts()
    write_bytes(out, f"{json.dumps(facts, indent=2)}\n".encode())
    return facts


def _print_measured(facts: Mapping[str, Any], out: Path, *, json_output: bool) -> None:
    if json_output:
        print_json({**facts, "files": [str(out)]})
        return
    parts = ("latents_mean", "mean_margin", "latents_std", "std_margin")
    rows = zip(*(facts[part] for part in parts), strict=True)
    for channel, (mean, mean_margin, deviation, margin) in enumerate(rows):
        print(
            f"channel {channel}: {mean:.4g} ± {mean_margin:.2g}, σ {deviation:.4g} ± {margin:.2g}"
        )
    print(f"{counted(facts['n_images'])} at {facts['size']} px, 95 % intervals: {out}")


def _find(entry: CatalogueEntry) -> FetchedModel | None:
    from latentlab.loaders.hub_cache import cached

    return cached(entry.repo, subfolder=entry.subfolder, files=entry.files)


def _describe(entry: CatalogueEntry, model: FetchedModel | None) -> dict[str, Any]:
    return asdict(entry) | {
        "on_disk": model is not None,
        "path": str(model.folder) if model else None,
        "revision": model.revision if model else None,
    }


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    headings = ("name", "family", "channels", "stride", "MB", "license", "gated", "on disk")
    cells = [
        (
            *(row["name"], row["family"], str(row["channels"]), str(row["stride"])),
            *(f"{row['size_mb']:g}", row["license"]),
            *("yes" if row[key] else "no" for key in ("gated", "on_disk")),
        )
        for row in rows
    ]
    notes = [f"{name} (built in): {note}" for name, note in BUILT_IN.items()]
    print_parts([table(cells, headings, left=(0, 1, 5, 6, 7)), *notes])
