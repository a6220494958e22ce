"""Measured normalization: mean and deviation of each channel, for a model without a scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t
from torch import Tensor

from latentlab.encoding.encoder import encode_batch
from latentlab.errors import ImageError, UsageError
from latentlab.images.arrays import from_uint8
from latentlab.images.fit import Fit
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.measured import check_raw
from latentlab.store.opening import open_source
from latentlab.store.preparing import prepare

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeasuredScale:
    """Statistics of a model's own latents, JSON-ready with ``asdict``.

    Parameters
    ----------
    model : str, what was asked for
    sha256 : file name → SHA-256 of the weights
    images : str, the folder
    n_images : int
    size : int, side of the images in pixels
    latents_mean, latents_std : list of float, one per channel, over all cells of all images
    mean_margin, std_margin : list of float, half the width of their 95 % intervals, from the
        jackknife over images
    """

    model: str
    sha256: dict[str, str]
    images: str
    n_images: int
    size: int
    latents_mean: list[float]
    latents_std: list[float]
    mean_margin: list[float]
    std_margin: list[float]

    def facts(self) -> dict[str, Any]:
        """Return the contents of the file that ``normalization=`` reads."""
        return asdict(self)


def measure_scale(
    vae: LatentVAE,
    folder: Path,
    *,
    n_images: int = 256,
    size: int | None = None,
    progress: Progress | None = None,
) -> MeasuredScale:
    """Return mean and standard deviation of each channel of a model's own latents, with margins.

    Parameters
    ----------
    vae : LatentVAE, loaded with ``normalization="none"``
    folder : Path, of images, or a tar file; those that cannot be read are left out
    n_images : int, the first so many
    size : int, side of the square that images are cropped and resized to; by default 256, or the
        next multiple that the model takes

    Raises
    ------
    UsageError : the model has another normalization.
    ImageError : fewer than two images can be read.
    """
    check_raw(vae)
    if n_images < 2:
        raise UsageError(f"n_images={n_images}", "at least 2 images", "raise it")
    side = size or vae.only_side or -(-256 // vae.spec.multiple) * vae.spec.multiple
    moments = [*islice(_moments(vae, folder, side, n_images, progress), n_images)]
    if len(moments) < 2:
        raise ImageError(
            f"{folder} with {len(moments)} images that can be read",
            "at least 2 images",
            "name a folder with more images",
        )
    mean, deviation, margins = pool_moments(np.stack(moments))
    return MeasuredScale(
        vae.origin.source.removesuffix("@none"),
        dict(vae.origin.sha256),
        str(folder),
        len(moments),
        side,
        mean.tolist(),
        deviation.tolist(),
        *(margin.tolist() for margin in margins),
    )


def _moments(
    vae: LatentVAE, folder: Path, side: int, n_images: int, progress: Progress | None
) -> Iterator[NDArray[np.float64]]:
    """Yield mean and mean square (2, C) of the latent of each image that can be read."""
    source, fit = open_source(folder), Fit(vae.spec.multiple, (side, side))
    for number, entry in enumerate(source.entries()):
        prepared = prepare(source, fit, entry.path)
        if prepared.levels is None:
            continue
        cells = _cells(encode_batch(vae, from_uint8(torch.from_numpy(prepared.levels))[None]).mean)
        if progress:
            progress("measuring", min(number + 1, n_images), n_images)
        yield torch.stack([cells.mean(1), cells.square().mean(1)]).numpy()


def _cells(latents: Tensor) -> Tensor:
    return latents[0].flatten(1).double()


def pool_moments(
    moments: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[NDArray[np.float64], ...]]:
    """Return mean (C,), standard deviation (C,) and the margins of both, of (N, 2, C) moments.

    The margins are those of the jackknife that leaves out one image at a time: cells of one image
    are dependent, images are not.
    """
    count = len(moments)
    total = moments.sum(0)
    mean, deviation = _statistics(total / count)
    without = np.stack([_statistics((total - one) / (count - 1)) for one in moments])
    spread = ((without - without.mean(0)) ** 2).sum(0) * (count - 1) / count
    quantile = t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return mean, deviation, tuple(quantile * np.sqrt(spread))


def _statistics(moments: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, square = moments
    return mean, np.sqrt(np.maximum(square - mean**2, 0))
