"""Clips to latents: one for each image, or one for several frames of a video model."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentlab.encoding.encoder import check_finite, describe_input, describe_model
from latentlab.encoding.sizes import longest_side
from latentlab.errors import ImageError
from latentlab.images.reading import read_frames
from latentlab.latents import Latent, Posterior
from latentlab.loaders.base import LatentVAE
from latentlab.machine.memory import available_memory, check_memory, memory_errors

if TYPE_CHECKING:
    from latentlab.images.fit import Size

_ADVICE = "lower --size, pass fewer frames (n_frames, --samples), or choose another --device"


def encode_clip(
    vae: LatentVAE, video: str | Path, size: Size | None = None, *, n_frames: int | None = None
) -> list[Latent]:
    """Return the latents of a clip in order, each (C, h, w) in model space.

    A model of images gives one for each frame. A video model gives the latent of the first frame
    alone, named ``clip-0``, and then one for every ``vae.time_stride`` frames, such as
    ``clip-1-4``; frames at the end that make no whole latent are left out.

    Parameters
    ----------
    vae : LatentVAE
    video : an animated GIF, WebP or PNG, or a video file
    size : as for :func:`latentlab.encode`
    n_frames : int, optional; the most frames to read

    Raises
    ------
    ImageError : the clip cannot be read, or is too short for one latent.
    MissingExtraError : a video file without the extra ``video``.
    MemoryLimitError : the clip is too large for this machine.
    NonFiniteError : the model returned NaN.

    Examples
    --------
    >>> import tempfile
    >>> import latentlab
    >>> from PIL import Image
    >>> file = Path(tempfile.mkdtemp()) / "clip.gif"
    >>> first, *rest = [Image.new("L", (64, 64), 40 * k) for k in range(5)]
    >>> first.save(file, save_all=True, append_images=rest)
    >>> [latent.name for latent in encode_clip(latentlab.load_vae("linear"), file)][:2]
    ['clip-0', 'clip-1']
    """
    stride = vae.time_stride or 1
    alone = int(vae.first_frame_alone and vae.time_stride > 0)
    longest, multiple = longest_side(vae), vae.spec.multiple
    frames = [*islice(read_frames(video, size=size, longest=longest, multiple=multiple), n_frames)]
    count = alone + (len(frames) - alone) // stride * stride
    if count < 1:
        raise ImageError(
            f"{video} of {len(frames)} frames",
            f"{vae.clip_rule} frames for {vae.spec.name}",
            "pass a longer clip",
        )
    posterior = encode_clip_batch(vae, torch.stack([one.pixels for one in frames[:count]]))
    starts = [0] * alone + [*range(alone, count, stride)]
    latents = []
    for k, (mean, start) in enumerate(zip(posterior.mean, starts, strict=True)):
        end = start if alone and not k else start + stride - 1
        span = f"{start}" if start == end else f"{start}-{end}"
        name = f"{Path(video).stem}-{span}"
        image = replace(frames[start], name=name)
        logvar = None if posterior.logvar is None else posterior.logvar[k]
        record = {"model": describe_model(vae), "input": describe_input(image)}
        record["input"]["frames"] = [start, end]
        latents.append(Latent(mean, vae.spec, logvar, image, name, record))
    return latents


def encode_clip_batch(vae: LatentVAE, frames: Tensor) -> Posterior:
    """Return mean and log-variance (t, C, h, w), on the CPU, of a clip (T, 3, H, W) in [−1, 1].

    Raises
    ------
    MemoryLimitError : the clip is too large for this machine.
    NonFiniteError : the model returned NaN, as float16 does for some families.
    ShapeError : another number of frames than ``vae.clip_rule`` says.
    """
    count, _, height, width = frames.shape
    what = f"encoding {count} frames of {height}×{width} pixels with {vae.spec.name}"
    # As for images: no VAE needs 32 kB per pixel, and a GPU raises an error by itself.
    if not vae.runs_aside and frames[:, 0].numel() * 2**15 > available_memory():
        check_memory(vae.clip_activation_bytes(count, height, width), what, _ADVICE)
    with torch.inference_mode(), memory_errors(what, _ADVICE):
        found = vae.encode_clip(frames)
    mean = found.mean.cpu().clone()
    check_finite(mean, f"latents from {vae.spec.name} in {vae.dtype}")
    return Posterior(mean, None if found.logvar is None else found.logvar.cpu().clone())
