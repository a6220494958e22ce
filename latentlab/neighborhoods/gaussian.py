"""Isotropic noise around the latent: the negative control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler, check_positive


@SAMPLERS.register("gaussian")
@dataclass(frozen=True)
class Gaussian(Sampler):
    """z + radius · std(z) · ε, with ε standard normal.

    Parameters
    ----------
    radius : float, in standard deviations of the latent's own values
    """

    radius: float = 0.1

    encodes = False
    noise = (
        "Noise was put in, so this spectrum follows from N and D alone: it is the negative "
        "control and says nothing about the model or the image."
    )
    statement = (
        "A ball of isotropic noise around the latent. It is the negative control: its spectrum "
        "follows from N and D alone and says nothing about the model or the image."
    )

    def __post_init__(self) -> None:
        check_positive("radius", self.radius)

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        scale = self.radius * float(latent.values.std())
        yield from ((batch, {}) for batch in noisy(latent, scale, samples, generator))


def noisy(
    latent: Latent, scale: float | Tensor, samples: int, generator: Generator
) -> Iterator[Tensor]:
    """Yield latents (1, C, h, w) with noise of this standard deviation, one at a time."""
    for _ in range(samples):
        noise = torch.randn(latent.values.shape, generator=generator)
        yield (latent.values + scale * noise)[None]
