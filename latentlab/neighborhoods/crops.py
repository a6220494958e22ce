"""Random crops of the image, enlarged to its size and encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as nnf
from torch import Generator

from latentlab.encoding.encoder import encode_batch
from latentlab.errors import UsageError
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.amounts import Amount
from latentlab.neighborhoods.base import Draws, Sampler, encoded_image


@SAMPLERS.register("crops")
@dataclass(frozen=True)
class Crops(Sampler):
    """Random parts of the image, each enlarged to the whole image's size.

    Parameters
    ----------
    smallest : float, smallest crop as a fraction of the image's sides; the largest is the whole
    """

    smallest: float = 0.5

    uncounted = "crops of one image contain no noise"
    nulls = ("parallel", "stationary")
    amounts: ClassVar = {
        "scale": Amount("% of its own", 0.5, 100, gain=True),
        "x": Amount("% of the width", 0.5, 100, words="horizontal position"),
        "y": Amount("% of the height", 0.5, 100, words="vertical position"),
    }
    statement = (
        "Random crops, enlarged and encoded. It shows what varies between parts of the image "
        "and with scale. Crops are drawn independently, though they overlap. Differences between "
        "parts of one image are not semantic directions."
    )

    def __post_init__(self) -> None:
        if not 0 < self.smallest < 1:
            raise UsageError(
                f"smallest={self.smallest}", "a fraction between 0 and 1", "set it to 0.5"
            )

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        pixels = encoded_image(latent, self.name).pixels
        height, width = pixels.shape[1:]
        for extent, x, y in torch.rand(samples, 3, generator=generator).tolist():
            scale = self.smallest + (1 - self.smallest) * extent
            rows, columns = max(1, round(scale * height)), max(1, round(scale * width))
            top, left = round(y * (height - rows)), round(x * (width - columns))
            part = pixels[None, :, top : top + rows, left : left + columns]
            enlarged = nnf.interpolate(
                part, (height, width), mode="bicubic", antialias=True, align_corners=False
            ).clamp(-1, 1)
            factors = {
                "scale": rows / height,
                "x": (left + columns / 2) / width,
                "y": (top + rows / 2) / height,
            }
            yield (
                encode_batch(vae, enlarged).mean,
                {name: torch.tensor([value]) for name, value in factors.items()},
            )
