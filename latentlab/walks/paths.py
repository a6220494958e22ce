"""Ways from one latent to another: functions of the position, from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from latentlab.encoding.encoder import decode
from latentlab.latents import Latent, Progress
from latentlab.linalg.slerp import slerp
from latentlab.loaders.base import LatentVAE
from latentlab.pullback import DecoderMap, decoder_map
from latentlab.pullback.least_squares import row_for_change

Way = Callable[[float], Tensor]
"""A path: the latent (C, h, w) at each position from 0 to 1."""

_PIECES = 8
_NEWTON_STEPS = 2


def _straight(vae: LatentVAE, first: Latent, last: Latent, progress: Progress | None) -> Way:
    """Return the straight line between two latents as a function of the position."""
    return lambda position: torch.lerp(first.values, last.values, position)


def _great_circle(vae: LatentVAE, first: Latent, last: Latent, progress: Progress | None) -> Way:
    """Return the slerp of two latents as a function of the position."""
    slerp(first.values, last.values, 0.5)  # refuses opposite latents
    return lambda position: slerp(first.values, last.values, position)


def _relaxed(vae: LatentVAE, first: Latent, last: Latent, progress: Progress | None) -> Way:
    """Return a broken line whose images go straighter than those of the straight one."""
    around = decoder_map(vae, first)
    nodes = {0: first.values, _PIECES: last.values}
    images = {at: decode(vae, values) for at, values in nodes.items()}
    gap = _PIECES
    while gap > 1:
        for before in range(0, _PIECES, gap):
            after, middle = before + gap, before + gap // 2
            mean = (images[before] + images[after]) / 2
            begin = (nodes[before] + nodes[after]) / 2
            nodes[middle], images[middle] = _settle(around.moved_to(begin), mean)
            if progress:
                progress("straightening", len(nodes) - 2, _PIECES - 1)
        gap //= 2

    def at(position: float) -> Tensor:
        before = min(int(position * _PIECES), _PIECES - 1)
        return torch.lerp(nodes[before], nodes[before + 1], position * _PIECES - before)

    return at


def _settle(decoder: DecoderMap, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return a latent near that of the map and its image, nearer to the one wanted."""
    image = decode(decoder.vae, decoder.values)
    for _ in range(_NEWTON_STEPS):
        row = row_for_change(decoder, wanted - image)
        moved = decoder.moved_to(decoder.values + decoder.layout.lift(row.float()))
        shown = decode(decoder.vae, moved.values)
        if not image_change(shown, wanted) < image_change(image, wanted):
            break
        decoder, image = moved, shown
    return decoder.values, image


def image_change(before: Tensor, after: Tensor) -> float:
    """Return the root mean square difference of the values of two images."""
    return math.sqrt(float((after - before).double().square().mean()))


WAYS: dict[str, Callable[[LatentVAE, Latent, Latent, Progress | None], Way]] = {
    "linear": _straight,
    "slerp": _great_circle,
    "arc": _relaxed,
}
"""Name → the function that makes such a path."""
