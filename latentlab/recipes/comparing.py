"""Directions transferred to other images, and paths from one image to another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentlab.directions.transfer import check_targets, transfer_directions
from latentlab.encoding.encoder import describe_latent
from latentlab.encoding.scale import Scales
from latentlab.figures.canvas import check_figure_format
from latentlab.images.fit import AUTO, NATIVE, Size
from latentlab.latents import Latent, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.recipes.finding import Search, find_around, save_found
from latentlab.recipes.sampling import Say, be_silent, encode_fitting
from latentlab.results.directions import save_transfer
from latentlab.results.folders import Saved, create_run
from latentlab.results.interpolations import save_interpolation
from latentlab.results.provenance import provenance
from latentlab.walks.interpolation import interpolate


def encode_alike(
    vae: LatentVAE, images: Sequence[Any], size: Size = AUTO, say: Say = be_silent
) -> list[Latent]:
    """Return the latents of several images in one shape.

    Without a size the first image decides: the others are cropped, centered, to its shape and
    resized to its size. ``"native"`` leaves each as it is.
    """
    scales = Scales(say)
    first = encode_fitting(vae, images[0], size, say, scales=scales)
    height, width = vae.spec.image_size(first.values.shape[-2:])
    shape = size if size == NATIVE else (height, width)
    rest = [encode_fitting(vae, image, shape, say, scales=scales) for image in images[1:]]
    scales.close()
    for latent in rest if size == AUTO else ():
        had = latent.image.native if latent.image else None
        if had and had != (width, height):
            shown = "×".join(map(str, had))
            say(
                f"{latent.name}: {shown} px, cropped and resized to {width}×{height} px, the size "
                f"of {first.name}"
            )
    return [first, *rest]


def analyze_transfer(
    vae: LatentVAE,
    images: Sequence[Any],
    search: Search,
    *,
    alpha: float = 2.0,
    size: Size = AUTO,
    say: Say = be_silent,
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
    origin, *targets = encode_alike(vae, images, size, say)
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
    figure_format, and suffix, fps, loop and longest of the animation, as for
    :func:`latentlab.save`.
    """
    check_figure_format(figure_format)
    first, last = ends
    found = interpolate(vae, first, last, path=path, steps=steps, progress=progress)
    straight = None
    if path != "linear":
        straight = interpolate(vae, first, last, steps=steps, progress=progress)
    inputs = [describe_latent(end) for end in ends]
    run = {**provenance(vae, first, command_line, path=path, steps=steps), "input": inputs}
    return save_interpolation(
        found,
        folder or create_run(f"{first.name}-{last.name}", vae.spec.name),
        linear=straight,
        run=run,
        figure_format=figure_format,
        **animation,
    )
