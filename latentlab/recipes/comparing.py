"""Directions transferred to other images, and paths from one image to another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentlab.directions.transfer import check_targets, transfer_directions
from latentlab.encoding.encoder import describe_input, encode
from latentlab.figures.canvas import check_figure_format
from latentlab.latents import Latent, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.recipes.finding import Search, find_around, save_found
from latentlab.results.directions import save_transfer
from latentlab.results.folders import Saved, create_run
from latentlab.results.interpolations import save_interpolation
from latentlab.results.provenance import provenance
from latentlab.walks.interpolation import interpolate


def analyze_transfer(
    vae: LatentVAE,
    images: Sequence[Any],
    search: Search,
    *,
    alpha: float = 2.0,
    size: int | None = None,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    figure_format: str = "png",
    progress: Progress | None = None,
) -> Saved:
    """Find directions at the first image, transfer them to the others, and save everything.

    This is ``latentlab transfer``. Parameters and errors as for
    :func:`latentlab.analyze_directions` and
    :func:`latentlab.directions.transfer.transfer_directions`; figure_format as for
    :func:`latentlab.save`.
    """
    check_figure_format(figure_format)
    origin, *targets = [encode(vae, image, size) for image in images]
    check_targets(origin, targets)
    found = find_around(vae, images[0], search, size=size, progress=progress)
    how: dict[str, Any] = {"alpha": alpha, "seed": search.plan.seed}
    moved = transfer_directions(
        vae, found.latent, found.directions, targets, progress=progress, **how
    )
    written = save_found(vae, found, folder, command_line)
    sources = [str(image) for image in images]
    saved = save_transfer(
        moved,
        written.folder,
        facts={"finder": found.directions.finder},
        run=provenance(vae, found.latent, command_line, images=sources, **how),
        figure_format=figure_format,
    )
    files = (*written.files[:-1], *saved.files)
    return Saved(saved.folder, files, saved.facts)


def analyze_interpolation(
    vae: LatentVAE,
    ends: Sequence[Latent],
    *,
    path: str = "linear",
    steps: int = 24,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    figure_format: str = "png",
    progress: Progress | None = None,
    **animation: Any,
) -> Saved:
    """Interpolate between two latents, compare with the straight line, and save everything.

    This is ``latentlab interpolate``. Parameters and errors as for :func:`latentlab.interpolate`;
    figure_format, and suffix, fps and loop of the animation, as for :func:`latentlab.save`.
    """
    check_figure_format(figure_format)
    first, last = ends
    found = interpolate(vae, first, last, path=path, steps=steps, progress=progress)
    straight = None
    if path != "linear":
        straight = interpolate(vae, first, last, steps=steps, progress=progress)
    inputs = [describe_input(end.image, end.name) for end in ends]
    run = {**provenance(vae, first, command_line, path=path, steps=steps), "input": inputs}
    return save_interpolation(
        found,
        folder or create_run(f"{first.name}-{last.name}", vae.spec.name),
        linear=straight,
        run=run,
        figure_format=figure_format,
        **animation,
    )
