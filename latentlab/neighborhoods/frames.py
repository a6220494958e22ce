"""The frames of a video or an animated image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from latentlab.encoding.clips import encode_clip_batch
from latentlab.encoding.encoder import encode_batch
from latentlab.errors import UsageError
from latentlab.images.reading import read_frames
from latentlab.latents import Latent, Neighborhood
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler, encoded_image
from latentlab.neighborhoods.groups import RowGroups, consecutive_rows

_LEAST = 2
"""Samples, since one has no variance."""


@SAMPLERS.register("frames")
@dataclass(frozen=True)
class Frames(Sampler):
    """Frames of a clip, in order from its start, encoded.

    A video model encodes them as one clip: each sample is the latent of several frames, which knows
    those before it. The latent of the first frame alone is another kind and no sample; it is the
    origin.

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

    def statement_for(self, vae: LatentVAE) -> str:
        if not vae.first_frame_alone or not vae.time_stride:
            return self.statement
        most = vae.most_clip_latents
        rest = (
            f" The model has statistics of {most} latents of a clip, so later frames are left out."
        )
        return (
            f"{self.statement} A sample is the latent of {vae.time_stride} frames of a clip of "
            f"{vae.clip_rule} frames and knows those before it. The first latent, of the first "
            "frame alone, is kept apart. A latent is decoded as one frame."
            f"{'' if most is None else rest}"
        )

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        pixels = encoded_image(latent, self.name).pixels
        shape = (pixels.shape[1], pixels.shape[2])
        stride, alone = vae.time_stride, int(vae.first_frame_alone)
        if stride > 1 or (stride and alone):
            most = _most_samples(vae, samples)
            frames = read_frames(self.video, size=shape, limit=most * stride + alone)
            clip = torch.stack([frame.pixels for frame in frames])
            count = (len(clip) - alone) // stride * stride
            if count < _LEAST * stride:
                raise UsageError(
                    f"{self.video} of {len(clip)} frames",
                    f"at least {_LEAST * stride + alone}, since {vae.spec.name} makes one latent "
                    f"of {stride} frames",
                    "pass a longer clip",
                )
            encoded = encode_clip_batch(vae, clip[: count + alone]).mean[alone:]
            last = torch.arange(len(encoded)) * stride + (stride - 1 + alone)
            yield encoded, {"time": last.float()}
            return
        for index, frame in enumerate(read_frames(self.video, size=shape, limit=samples)):
            encoded = encode_batch(vae, frame.pixels[None]).mean
            yield encoded, {"time": torch.tensor([float(index)])}


def _most_samples(vae: LatentVAE, samples: int) -> int:
    """Return how many samples of a clip the statistics of the model admit, at most ``samples``."""
    known, alone = vae.most_clip_latents, int(vae.first_frame_alone)
    if known is None:
        return samples
    if known < _LEAST + alone:
        raise UsageError(
            f"frames with {vae.spec.name}, which has statistics of {known} latents of a clip",
            f"a model with those of at least {_LEAST + alone}"
            f"{', as the first is kept apart' if alone else ''}",
            "use another model or neighborhood",
        )
    return min(samples, known - alone)
