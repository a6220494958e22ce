"""Whether latents of another program contradict the model and the space that they are taken for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentlab.encoding.scale import is_far_from_one
from latentlab.errors import FileError
from latentlab.examinations.latents import LARGEST, SMALLEST, typical_deviation

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE
    from latentlab.store.parts import Part

_PARTS, _ROWS = 16, 8
"""So many latents of so many files are looked at."""
_CLOSE = 1.6
"""The other space is named if latents are within this factor of unit variance there."""


def describe_contradiction(parts: Iterable[Part], vae: LatentVAE, space: str) -> str | None:
    """Return a sentence with figures if latents are far from unit variance in model space.

    Nothing is said of latents that are somewhat louder or quieter than usual, unless the other
    space explains them: images differ, and so do data sets.

    Parameters
    ----------
    parts : of the files, as stored; a few latents of a few of them are read
    vae : LatentVAE that they are taken for
    space : ``"raw"`` or ``"model"``, what they are taken for
    """
    stored = _some(parts)
    normalize = getattr(getattr(vae, "normalization", None), "to_model", None)
    ways = {"model": stored}
    if normalize is not None:
        ways["raw"] = [normalize(latent[None])[0] for latent in stored]
    found = {name: typical_deviation(latents) for name, latents in ways.items() if latents}
    here = found.pop(space, 1.0)
    if not here > 0 or SMALLEST <= here <= LARGEST:
        return None
    explained = {name: value for name, value in found.items() if 1 / _CLOSE < value < _CLOSE}
    if not explained and not is_far_from_one(here):
        return None
    advice = "check that they are this model's"
    for name, value in explained.items():
        advice = f"--space {name} would give {value:.3g}"
    return (
        f"latents taken as --space {space} have a typical standard deviation of {here:.3g} in the "
        f"model space of {vae.spec.name}, where {SMALLEST:g} to {LARGEST:g} are usual; {advice}"
    )


def _some(parts: Iterable[Part]) -> list[Tensor]:
    """Return a few finite latents (C, h, w), float32, of evenly spaced files that can be read."""
    every = [*parts]
    found: list[Tensor] = []
    for part in every[:: -(-len(every) // _PARTS)] if every else []:
        try:
            block = next(part.blocks(_ROWS), None)
        except FileError:
            continue
        found += [] if block is None else block[1][:_ROWS].float()
    return [latent for latent in found if bool(torch.isfinite(latent).all())]
