"""Whether a turn of hue is what was turned, and no hue is claimed of gray images."""

from __future__ import annotations

import math

import torch
from claims import RATIO, SIZE, Cell, Claim, Outcome
from samples import generator_of
from torch import Tensor

from latentlab.directions.effects import measure_with_turn
from latentlab.images.colors import RGB_TO_YIQ

SIDE = 24
LEVEL = 2 / 255  # of 256 levels, in [−1, 1]


def _image(cast: float, seed: int) -> Tensor:
    """Return an image (3, H, W) in [−1, 1] of gray noise with a cast of this chroma."""
    generator = generator_of(seed)
    gray = 0.6 * torch.rand(1, SIDE, SIDE, generator=generator) - 0.3
    noise = 0.1 * torch.rand(3, SIDE, SIDE, generator=generator) - 0.05
    noise = noise - noise.mean((1, 2), keepdim=True)
    return gray + noise + 2 * cast * _color(6.28 * float(torch.rand(1, generator=generator)))


def _color(angle: float) -> Tensor:
    """Return the change of RGB (3, 1, 1) that is one unit of chroma at an angle."""
    chroma = torch.tensor([0.0, math.cos(angle), math.sin(angle)])
    return torch.linalg.solve(torch.tensor(RGB_TO_YIQ), chroma)[:, None, None]


def _turned(seed: int) -> Outcome:
    """Turn the chroma of a whole image by 1 to 15 degrees."""
    cast, degrees = (torch.rand(2, generator=generator_of(seed + 9))).tolist()
    image, degrees = _image(0.05 + 0.2 * cast, seed), 1 + 14 * degrees
    angle = math.radians(degrees)
    turn = torch.eye(3)
    turn[1:, 1:] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    to = torch.tensor(RGB_TO_YIQ)
    turned = torch.einsum("ij,jhw->ihw", torch.linalg.inv(to) @ turn @ to, image)
    return {"turn": float(measure_with_turn(turned[None], image)["hue"]) / degrees}


def _gray(seed: int) -> Outcome:
    """Raise one channel of a gray image by one level."""
    image = _image(0.0, seed)
    raised = image.clone()
    raised[seed % 3] += LEVEL
    return {"a hue is measured": "hue" in measure_with_turn(raised[None], image)}


CLAIM = Claim(
    name="hue",
    says="≈ measured hue (ρ .93, ±12°)",
    assumes="one cast over the image: the hue is that of its mean chroma",
    breaks="images whose mean chroma is near zero have no hue, however colorful their parts are",
    cells=(
        Cell("casts turned by 1° to 15°", RATIO, _turned, runs=400),
        Cell("gray images, one channel up by one level", SIZE, _gray, runs=400),
    ),
)
