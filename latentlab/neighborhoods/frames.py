"""The frames of a video or an animated image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from latentlab.encoding.encoder import encode_batch
from latentlab.errors import UsageError
from latentlab.images.reading import read_frames
from latentlab.latents import Latent, Neighborhood
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler, encoded_image
from latentlab.neighborhoods.groups import RowGroups, consecutive_rows


@SAMPLERS.register("frames")
@dataclass(frozen=True)
class Frames(Sampler):
    """Frames of a clip, in order from its start, encoded.

    Parameters
    ----------
    video : str, an animated GIF, WebP or PNG, or a video file
    """

    video: str = ""

    reads_files = True
    correlated = "consecutive frames are alike"
    uncounted = correlated
    statement = (
        "The frames of a clip. It shows what moves and changes in this scene. Consecutive frames "
        "are alike, so the number of independent samples is far below N."
    )

    @classmethod
    def groups(cls, hood: Neighborhood) -> RowGroups:
        return consecutive_rows(hood.n_samples, "consecutive frames")

    @classmethod
    def options_for(cls, image: str) -> dict[str, str]:
        return {"video": image}

    def __post_init__(self) -> None:
        if not self.video:
            raise UsageError("no video", "an animated image or a video", "add --set video=FILE")

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        pixels = encoded_image(latent, self.name).pixels
        shape = (pixels.shape[1], pixels.shape[2])
        for index, frame in enumerate(read_frames(self.video, size=shape, limit=samples)):
            encoded = encode_batch(vae, frame.pixels[None]).mean
            yield encoded, {"time": torch.tensor([float(index)])}
