"""The images that a diagnosis looks at: from a folder, a list or a tensor, each of them once."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentlab.errors import ImageError, LatentlabError
from latentlab.images.arrays import from_uint8
from latentlab.images.examples import PREFIX, SAMPLES
from latentlab.images.fit import Size, fit_of
from latentlab.images.formats import is_image_file
from latentlab.images.reading import read_image
from latentlab.loaders.base import LatentVAE
from latentlab.store.opening import open_source
from latentlab.store.preparing import prepare

SIDE = 256

Named = list[tuple[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Examined:
    """An image to examine.

    Parameters
    ----------
    name : str
    pixels : Tensor, (3, H, W) in [−1, 1]
    sha256 : str, of the pixels as the model gets them
    """

    name: str
    pixels: Tensor
    sha256: str


def gather_images(
    vae: LatentVAE, images: Any, n_images: int, size: Size | None, seed: int
) -> tuple[list[Examined], list[str]]:
    """Return the images to examine, and what was left out or assumed, one sentence each.

    Parameters as for :func:`latentlab.recipes.diagnosing.diagnose`.

    Raises
    ------
    ImageError : no image can be read; the message names the last problem.
    UsageError : an invalid size.
    """
    notes: list[str] = []
    side = size or vae.only_side or -(-SIDE // vae.spec.multiple) * vae.spec.multiple
    fit_of(side, vae.spec.multiple)  # an invalid size is no fault of the first image
    if images is None:
        images = [f"{PREFIX}{name}" for name in SAMPLES]
        notes.append("no folder was given: the two sample images that come with latentlab are used")
    if isinstance(images, Tensor):
        plain = images.detach().cpu().float()
        found = [(f"image {k}", image) for k, image in enumerate(plain)]
    elif isinstance(images, str | PathLike) and not _is_one(images):
        found = _from_source(vae, Path(images), n_images, side, seed, notes)
    else:
        listed = [images] if isinstance(images, str | PathLike) else [*images]
        found = _from_list(vae, listed[:n_images], side, notes)
    if not found:
        first = notes[-1] if notes else "none was given"
        raise ImageError(f"no image to examine ({first})", "an image", "pass a folder of photos")
    return _distinct(found, notes), notes


def _is_one(images: str | PathLike[str]) -> bool:
    return str(images).startswith(PREFIX) or is_image_file(Path(images))


def _from_list(vae: LatentVAE, listed: Sequence[Any], size: Size, notes: list[str]) -> Named:
    found: Named = []
    for number, one in enumerate(listed):
        try:
            image = read_image(one, size=size, multiple=vae.spec.multiple)
        except LatentlabError as error:
            notes.append(f"left out: {error.got}")
            continue
        found.append((image.name or f"image {number}", image.pixels))
    return found


def _from_source(
    vae: LatentVAE, path: Path, n_images: int, size: Size, seed: int, notes: list[str]
) -> Named:
    source, fit = open_source(path), fit_of(size, vae.spec.multiple)
    paths = [entry.path for entry in source.entries()]
    order = random.Random(seed).sample(range(len(paths)), len(paths))
    found: dict[int, tuple[str, Tensor]] = {}
    for index in order:
        if len(found) == n_images:
            break
        prepared = prepare(source, fit, paths[index])
        if prepared.levels is None:
            notes.append(f"left out: {paths[index]}, {prepared.problem}")
        else:
            pixels = from_uint8(torch.from_numpy(prepared.levels)).contiguous()
            found[index] = (paths[index], pixels)
    if len(found) < len(paths):
        notes.append(f"{len(found):,} of {len(paths):,} images, drawn with seed {seed}")
    return [found[index] for index in sorted(found)]


def _distinct(found: Named, notes: list[str]) -> list[Examined]:
    """Return images without copies: a copy would count as evidence twice."""
    kept: dict[str, Examined] = {}
    for name, pixels in found:
        digest = hashlib.sha256(pixels.contiguous().cpu().numpy().tobytes()).hexdigest()
        kept.setdefault(digest, Examined(name, pixels, digest))
    if len(kept) < len(found):
        notes.append(f"{len(found) - len(kept):,} of {len(found):,} images are copies and left out")
    return [*kept.values()]
