"""The nearest images of a folder, chosen in pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor

from latentlab.encoding.encoder import encode_batch
from latentlab.errors import ImageError, MissingExtraError, UsageError
from latentlab.images.checking import list_images
from latentlab.images.examples import PREFIX
from latentlab.images.reading import read_image
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler, encoded_image

_THUMBNAIL = 32


@SAMPLERS.register("knn")
@dataclass(frozen=True)
class NearestImages(Sampler):
    """The images of a folder that are nearest in pixels, encoded.

    Nearness is the Euclidean distance of 32×32 RGB thumbnails, not of latents: neighbors chosen in
    the space under analysis would be similar there by construction. Unreadable images are left
    out with a warning.

    Parameters
    ----------
    folder : str, folder of images
    """

    folder: str = ""

    reads_files = True
    uncounted = "real images contain no noise"
    nulls = ("parallel", "stationary")
    statement = (
        "The nearest images of a folder, chosen in pixels. It shows how different real images "
        "of similar layout and color vary. The answer depends on the folder, and images that are "
        "similar in pixels need not be similar in meaning."
    )

    @classmethod
    def options_for(cls, image: str) -> dict[str, str]:
        return {} if image.startswith(PREFIX) else {"folder": str(Path(image).parent)}

    def __post_init__(self) -> None:
        if not self.folder:
            raise UsageError("no folder", "a folder of images", "add --set folder=DIR")

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        pixels = encoded_image(latent, self.name).pixels
        shape = (pixels.shape[1], pixels.shape[2])
        distances, skipped = [], []
        for path in list_images(Path(self.folder)):
            try:
                candidate = read_image(path, size=shape)
            except (ImageError, MissingExtraError) as error:
                skipped.append(error.got)
                continue
            difference = _thumbnail(pixels) - _thumbnail(candidate.pixels)
            distances.append((float(difference.square().mean().sqrt()), path))
        if skipped:
            warnings.warn(
                f"left out of {self.folder}: {len(skipped):,}, such as {skipped[0]}",
                stacklevel=2,
            )
        for distance, path in sorted(distances)[:samples]:
            other = read_image(path, size=shape).pixels
            yield encode_batch(vae, other[None]).mean, {"distance": torch.tensor([distance])}


def _thumbnail(pixels: Tensor) -> Tensor:
    return nnf.adaptive_avg_pool2d(pixels, (_THUMBNAIL, _THUMBNAIL))
