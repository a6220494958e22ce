"""Images for simulations of examinations: crops of the sample images, and photos of ../shared."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from samples import generator_of
from torch import Tensor
from torch.nn.functional import interpolate

from latentlab.images.examples import PREFIX, SAMPLES
from latentlab.images.reading import read_image

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
SIDE = 128


def crops(count: int, seed: int, side: int = SIDE) -> Tensor:
    """Return random square crops (count, 3, side, side) of the two sample images, at any zoom."""
    generator = generator_of(seed)
    return torch.stack([_crop(SAMPLES[k % 2], side, generator) for k in range(count)])


def _crop(name: str, side: int, generator: torch.Generator) -> Tensor:
    whole = _sample(name)
    height, width = whole.shape[1:]
    large = int(torch.randint(side, min(height, width) + 1, (), generator=generator))
    y, x = (
        int(torch.randint(0, whole_side - large + 1, (), generator=generator))
        for whole_side in (height, width)
    )
    part = whole[None, :, y : y + large, x : x + large]
    return interpolate(part, (side, side), mode="bilinear", antialias=True)[0]


@cache
def _sample(name: str) -> Tensor:
    return read_image(f"{PREFIX}{name}").pixels


def measured_photos(count: int, seed: int, pool: int = 60, side: int = SIDE) -> Tensor:
    """Return some of ``pool`` photos (count, 3, side, side) by which no threshold was chosen.

    Thresholds were chosen on photos of even number in the order of their names; these have odd
    numbers.
    """
    chosen = torch.randperm(pool, generator=generator_of(seed))[:count]
    return torch.stack([_photo(int(k), side) for k in chosen])


@cache
def _photo(number: int, side: int) -> Tensor:
    paths = sorted(PHOTOS.glob("*.jpg"))[1::2]
    order = torch.randperm(len(paths), generator=generator_of(1))
    return read_image(paths[int(order[number])], size=side).pixels
