"""The nearest images of a folder, chosen in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor

from latentlab.encoding.encoder import encode_batch
from latentlab.errors import ImageError, UsageError
from latentlab.images.examples import PREFIX
from latentlab.images.reading import list_images, read_image
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler, encoded_image

_THUMBNAIL = 32


@SAMPLERS.register("knn")
@dataclass(frozen=True)
class NearestImages(Sampler):
    """The images of a folder that are nearest in pixels, encoded.

    Nearness is the Euclidean distance of 32×32 RGB thumbnails, not of latents: neighbors chosen
    in the space under analysis would be alike there by construction. Images that cannot be
    read are passed over.

    Parameters
    ----------
    folder : str, folder of images
    """

    folder: str = ""

    reads_files = True
    statement = (
        "The nearest images of a folder, chosen in pixels. It shows how different real images "
        "of similar layout and color vary; the answer depends on the folder, and similar in "
        "pixels is not similar in meaning."
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
        distances = []
        for path in list_images(Path(self.folder)):
            try:
                candidate = read_image(path, size=shape)
            except ImageError:
                continue
            difference = _thumbnail(pixels) - _thumbnail(candidate.pixels)
            distances.append((float(difference.square().mean().sqrt()), path))
        for distance, path in sorted(distances)[:samples]:
            other = read_image(path, size=shape).pixels
            yield encode_batch(vae, other[None]).mean, {"distance": torch.tensor([distance])}


def _thumbnail(pixels: Tensor) -> Tensor:
    return nnf.adaptive_avg_pool2d(pixels, (_THUMBNAIL, _THUMBNAIL))
