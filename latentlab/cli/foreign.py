"""Options for latents that other programs wrote, and the one call that opens them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentlab.cli.completion import model_names, names_of
from latentlab.cli.console import progress_bar, say
from latentlab.machine.archives import ARRAYS, is_archive
from latentlab.results.folders import RUNS_FOLDER

if TYPE_CHECKING:
    from latentlab.store.reading import Store

Key = Annotated[
    str | None,
    typer.Option("--key", help="Name of the array that holds the latents. Default: detected."),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="How latents lie in an array: chw, nchw, nhwc, cthw, ncthw, ntchw, packed, "
        "packed=HxW, sequence, vectors, or moments. Default: detected.",
    ),
]
Space = Annotated[
    str | None,
    typer.Option(
        "--space", help="What the numbers are: raw, as the VAE returns them, or model space."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        *("--model", "-m"), autocompletion=names_of(model_names),
        help="The model that the latents belong to; raw ones get its normalization.",
    ),
]  # fmt: skip
Links = Annotated[
    bool,
    typer.Option("--follow-links", help="Follow links that lead out of the folder, or to folders."),
]
Bucket = Annotated[
    str | None,
    typer.Option(
        "--bucket", metavar="CxHxW", help="Use only the latents of this shape, such as 4x32x48."
    ),
]
_SHOWN = 10


def holds_latents(path: str) -> bool:
    """Return whether a path is a file of latents, or a folder or archive with some in it."""
    from latentlab.images.formats import IMAGE_SUFFIXES

    place = Path(path)
    if place.is_dir():
        marks = ("pca.json", "directions.json", "run.json", "config.json", "model_index.json")
        if any((place / mark).exists() for mark in marks):
            return False
        beside = {file.suffix.lower() for file in place.iterdir() if not file.name.startswith(".")}
        # A folder of images may hold the runs that were made in it; caches lie beside the images.
        if beside & {*ARRAYS} or beside & set(IMAGE_SUFFIXES):
            return bool(beside & {*ARRAYS})
        return any(_is_latents(file.relative_to(place)) for file in place.rglob("[!.]*"))
    if is_archive(place.name) and place.is_file():
        from latentlab.store.places import places_at

        return bool(places_at(place).places)
    return place.is_file() and place.suffix.lower() in ARRAYS


def _is_latents(file: Path) -> bool:
    inside = any(part.startswith(".") or part == RUNS_FOLDER.name for part in file.parts)
    return not inside and file.suffix.lower() in ARRAYS


def open_foreign(
    path: Path,
    key: str | None,
    layout: str | None,
    space: str | None,
    model: str | None,
    *,
    follow_links: bool,
    quiet: bool,
) -> Store:
    """Return the latents at a path; what was recognized and left out is printed once."""
    from latentlab import load_vae
    from latentlab.store.foreign import ForeignLatents, open_latents

    vae: Any = None
    if model is not None:
        with progress_bar(quiet=quiet, in_bytes=True) as progress:
            vae = load_vae(model, progress=progress)
    found = open_latents(
        path, key=key, layout=layout, space=space, vae=vae, follow_links=follow_links
    )
    if isinstance(found, ForeignLatents):
        say_faults(found, quiet=quiet)
        say(found.statement, quiet=quiet)
    return found


def say_faults(found: Any, *, quiet: bool, before: int = 0) -> None:
    """Print why files and latents are left out, the first ten of those after ``before``."""
    faults = [*found.faults.items()][before:]
    for name, why in faults[:_SHOWN]:
        say(" ".join(f"{name}: {why}".splitlines()), quiet=quiet)
    if more := found.skipped - before - len(faults[:_SHOWN]):
        say(f"… and {more:,} more", quiet=quiet)
