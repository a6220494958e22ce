"""Samples of the encoder's own Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from latentlab.errors import UsageError
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler
from latentlab.neighborhoods.gaussian import noisy


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
        "Samples of the encoder's posterior. Its covariance is diag σ², known before sampling. In "
        "latent-diffusion VAEs the posterior is nearly a point, so the spectrum shows how σ "
        "differs between cells and channels, and nothing about meaning."
    )

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        if latent.logvar is None:
            raise UsageError(
                f"a {self.name} neighborhood of {latent.spec.name}",
                "a model whose encoder gives a log-variance",
                "choose another --neighborhood, such as augment, or a KL model",
            )
        deviation = (0.5 * latent.logvar).exp()
        yield from ((batch, {}) for batch in noisy(latent, deviation, samples, generator))
