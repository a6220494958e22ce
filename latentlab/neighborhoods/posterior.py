"""Samples of the encoder's own Gaussian."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.errors import UsageError
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Sampler


@SAMPLERS.register("posterior")
@dataclass(frozen=True)
class PosteriorSampler(Sampler):
    """μ + σ ε, with the encoder's own σ in every cell."""

    encodes = False
    noise = (
        "The encoder's own σ was put in, so this spectrum says how σ differs between cells and "
        "channels, and nothing about meaning."
    )
    statement = (
        "Samples of the encoder's posterior. Its covariance is diag σ², known before sampling; in "
        "latent-diffusion VAEs the posterior is nearly a point, so the spectrum shows how σ "
        "differs between cells and channels, and nothing about meaning."
    )

    def draw(
        self, vae: LatentVAE, latent: Latent, samples: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        if latent.logvar is None:
            raise UsageError(
                f"a {self.name} neighborhood of {latent.spec.name}",
                "a model whose encoder gives a log-variance",
                "choose another --neighborhood, such as augment, or a KL model",
            )
        deviation = (0.5 * latent.logvar).exp()
        for _ in range(samples):
            noise = torch.randn(latent.values.shape, generator=generator)
            yield (latent.values + deviation * noise)[None], {}
