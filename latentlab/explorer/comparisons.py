"""What a map's images are colored by once they are decoded: findings of `doctor`, and the PSNR.

Decoding takes much longer than reading a latent. So some images are compared at a time, all
numbers of each at once, and what was measured is kept, also when the work is stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentlab.encoding.encoder import decode
from latentlab.examinations.places import examine_places
from latentlab.examinations.reconstruction import (
    examine_color,
    examine_lattice,
    examine_sharpness,
)
from latentlab.explorer.colorings import Coloring
from latentlab.images.arrays import from_uint8
from latentlab.metrics.fidelity import psnr
from latentlab.store.preparing import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from latentlab.latents import Progress
    from latentlab.loaders.base import LatentVAE
    from latentlab.store.reading import Store
    from latentlab.store.sources import Source

_CHUNK = 16
_DOCTOR = "latentlab doctor, of decoded images"
_ONE = " In a single image its content counts as well; `doctor` judges many images together."


def _finding(
    name: str, label: str, about: str, threshold: float, *, below: bool = False
) -> Coloring:
    return Coloring(name, label, _DOCTOR, about, None, threshold, below=below, decodes=True)


COMPARISONS = (
    Coloring(
        *("psnr", "PSNR", _DOCTOR, "The fidelity of the reconstruction, in dB.", None),
        decodes=True,
    ),
    _finding(
        *("lattice", "lattice", "What repeats with every cell, RMS in levels of 255.", 2.5),
    ),
    _finding(
        *("color shift", "color shift", "How far the mean color moves, in ΔE (CIE 1976).", 4.6),
    ),
    _finding(
        *("blur", "gain of fine detail", "1 is right; less is blurred.", 0.88),
        below=True,
    ),
    _finding(
        *(
            "lost detail",
            "kept detail",
            "The share of the energy of fine detail that is kept.",
            0.4,
        ),
        below=True,
    ),
    _finding(
        "corners",
        "corners",
        "How far the worst corner is off, in levels of 255." + _ONE,
        14.0,
    ),
    _finding(
        "borders",
        "borders",
        "How far the worst edge is off, in levels of 255." + _ONE,
        8.5,
    ),
    _finding(
        "spots",
        "spots",
        "How far the worst cell elsewhere is off, in levels of 255." + _ONE,
        16.0,
    ),
)


def compare(image: Tensor, decoded: Tensor, stride: int) -> Mapping[str, float]:
    """Return the value of each coloring; NaN where it cannot be measured.

    Parameters
    ----------
    image, decoded : Tensor, (3, H, W) in [−1, 1], an image and its reconstruction
    stride : int, pixels of a cell

    Examples
    --------
    >>> gray = torch.zeros(3, 64, 64)
    >>> found = compare(gray, gray + 0.1, 8)
    >>> round(found["psnr"], 2), found["lattice"] < 1
    (26.02, True)
    """
    if image.shape != decoded.shape or not torch.isfinite(decoded).all():
        return {}
    clamped = decoded.clamp(-1, 1)
    pair = ([image], [clamped])
    findings = (
        examine_lattice(*pair, stride),
        examine_color(*pair),
        *examine_sharpness(*pair),
        *examine_places(*pair, stride),
    )
    values = {one.name: math.nan if one.value is None else one.value for one in findings}
    return {"psnr": psnr(image, clamped), **values}


@dataclass(frozen=True, eq=False)
class Comparer:
    """Images of a store, compared with what the model makes of their latents.

    Parameters
    ----------
    vae : LatentVAE
    store : Store
    images : Source of the images that were encoded
    """

    vae: LatentVAE
    store: Store
    images: Source
    _known: dict[int, Mapping[str, float]] = field(default_factory=dict, init=False)

    def measure(self, places: Mapping[int, tuple[int, str]], progress: Progress) -> None:
        """Measure images that were not measured before.

        Parameters
        ----------
        places : number of each image on the map → its position in the store, and its path
        progress : called as ``progress("decoding images", done, total)``
        """
        missing = [number for number in places if number not in self._known]
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            latents = self.store.take([places[number][0] for number in chunk])
            for offset, (number, latent) in enumerate(zip(chunk, latents, strict=True)):
                progress("decoding images", start + offset, len(missing))
                self._known[number] = self._compare(latent.values, places[number][1])

    def _compare(self, latent: Tensor, path: str) -> Mapping[str, float]:
        prepared = prepare(self.images, self.store.manifest.fit, path)
        if prepared.levels is None or not torch.isfinite(latent).all():
            return {}
        image = from_uint8(torch.from_numpy(prepared.levels)).contiguous()
        return compare(image, decode(self.vae, latent), self.store.spec.stride)

    def values(self, name: str, count: int) -> NDArray[np.float64]:
        """Return what was measured of the first images of the map; NaN for the others."""
        found = (self._known.get(number, {}).get(name, math.nan) for number in range(count))
        return np.fromiter(found, float, count)

    def measured(self) -> Sequence[int]:
        """Return the numbers of the images that were measured."""
        return sorted(self._known)
