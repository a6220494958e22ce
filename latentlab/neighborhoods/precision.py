"""The precision in which a neighborhood can be encoded.

A bfloat16 encoder has an error of about one percent of the latent's deviation. That is negligible
for a neighborhood as wide as ``augment``, but not for a ball of radius 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from latentlab.encoding.precision import dtype_name, native_bfloat16
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.sampling import neighborhood

LARGEST_FLOOR = 0.01
"""Largest rounding error, as a share of a neighborhood's variance, for which bfloat16 is used."""

_PILOT = 3


@dataclass(frozen=True)
class Precision:
    """The precision in which a neighborhood is encoded, and why.

    Parameters
    ----------
    vae : LatentVAE to sample with
    floor : float, mean square error of bfloat16 as a share of the neighborhood's variance, from a
        few samples drawn in both precisions; None if nothing was compared
    reason : str, in words
    """

    vae: LatentVAE
    floor: float | None
    reason: str

    def facts(self) -> dict[str, Any]:
        """Return dtype, floor and reason for ``run.json``."""
        return {"encode": dtype_name(self.vae.dtype), "floor": self.floor, "reason": self.reason}


def choose_precision(vae: LatentVAE, latent: Latent, name: str, **options: Any) -> Precision:
    """Return the VAE to draw a neighborhood with: in bfloat16 if its rounding is negligible.

    A few samples are drawn in both precisions. If their mean square difference, the floor, exceeds
    :data:`LARGEST_FLOOR` of the variance between samples, float32 is kept.

    Parameters
    ----------
    vae : LatentVAE, float32
    latent : Latent, encoded with it
    name : str, and options, such as region and seed, as for :func:`latentlab.neighborhood`

    Raises
    ------
    UsageError, ShapeError : as for :func:`latentlab.neighborhood`.
    """
    if not SAMPLERS[name].encodes:
        return Precision(vae, None, "nothing is encoded")
    if vae.dtype != torch.float32:
        return Precision(vae, None, "asked for")
    if not native_bfloat16(vae.device):
        return Precision(vae, None, f"{vae.device} has no native bfloat16")
    fast = vae.cast(torch.bfloat16)
    if fast is vae:
        return Precision(vae, None, "this model has one precision")
    floor = measure_floor(vae, fast, latent, name, **options)
    if floor is None:
        return Precision(vae, None, "a few samples are all alike")
    enough = floor <= LARGEST_FLOOR
    comparison = f"rounding to bfloat16 is {floor:.2%} of the neighborhood's variance"
    return Precision(
        fast if enough else vae, floor, f"{comparison}, {'at' if enough else 'not at'} most 1 %"
    )


def measure_floor(
    exact: LatentVAE, fast: LatentVAE, latent: Latent, name: str, **options: Any
) -> float | None:
    """Return the mean square difference of samples drawn by two VAEs, over their variance.

    An error that all samples share does not count, since PCA removes it with the mean. None for
    samples that do not vary.
    """
    drawn = [
        neighborhood(vae, latent, name, n_samples=_PILOT, **options).samples.double()
        for vae in (exact, fast)
    ]
    variance = drawn[0].var(0).sum()
    error = (drawn[1] - drawn[0]).var(0).sum()
    return float(error / variance) if variance > 0 else None
