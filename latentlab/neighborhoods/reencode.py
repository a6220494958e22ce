"""Noise that passed through the decoder and the encoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler, check_positive, is_encoded_with_alpha
from latentlab.neighborhoods.gaussian import noisy


@SAMPLERS.register("reencode")
@dataclass(frozen=True)
class Reencode(Sampler):
    """E(D(z + radius · std(z) · ε)): noise, decoded and encoded again.

    Of a model with an alpha channel the opacity passes through the loop too, unless the image is
    known to be opaque.

    Parameters
    ----------
    radius : float, in standard deviations of the latent's own values
    """

    radius: float = 0.1

    statement = (
        "Noise around the latent, decoded and encoded again. It shows which noise the "
        "encoder–decoder loop keeps and which it contracts; it says nothing about how images "
        "of the same scene vary."
    )

    def __post_init__(self) -> None:
        check_positive("radius", self.radius)

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        scale = self.radius * float(latent.values.std())
        image = latent.image
        rgba = vae.takes_alpha and (image is None or is_encoded_with_alpha(image))
        for batch in noisy(latent, scale, samples, generator):
            decoded = next(decode_each(vae, batch, rgba=rgba))
            yield encode_batch(vae, decoded[None]).mean, {}
