"""Images of one flat color each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from latentlab.encoding.encoder import encode_batch
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler

_NAMES = ("red", "green", "blue")


@SAMPLERS.register("colors")
@dataclass(frozen=True)
class FlatColors(Sampler):
    """Images of one flat color each, of the image's size, encoded.

    Red, green and blue are independent and uniform from black to white. What the image shows plays
    no role. Source: Latent Color Subspace, 2603.12261.
    """

    uncounted = "flat colors contain no noise"
    nulls = ()
    statement = (
        "Flat colors of the image's size. It shows the subspace in which the model keeps color, "
        "whatever the image. Three factors vary, so three components that hold nearly all of the "
        "variance say that color is kept linearly. `latentlab palette` measures how well colors "
        "can be read from it."
    )

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        height, width = vae.spec.image_size(latent.values.shape[-2:])
        for _ in range(samples):
            color = 2 * torch.rand(1, 3, generator=generator) - 1
            image = color[:, :, None, None].expand(-1, -1, height, width).contiguous()
            factors = {name: (color[:, k] + 1) / 2 for k, name in enumerate(_NAMES)}
            yield encode_batch(vae, image).mean, factors
