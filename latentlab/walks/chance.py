"""Walks along random directions that change the image as much: what scores have by chance.

Differences are measured in CIELAB, in which they are about as large as they look. Every direction
has random ones of its own, each with a step so long that its two ends differ as much as those of
the direction: flicker depends on how much a walk changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from latentlab.encoding.encoder import decode_each
from latentlab.images.arrays import to_uint8
from latentlab.images.colors import to_lab
from latentlab.latents import Directions, Latent, Progress
from latentlab.linalg.bases import random_rows
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.walks import score_path

FRAMES = 7
"""How many frames of a walk are compared, evenly spaced."""

_ALONE = 5  # random directions of a single direction, which cannot be significant
_ENOUGH = 41  # arrangements, so that one on either side has a chance below 5 %
_REFINEMENTS = 3
_NEAR = 0.05


@dataclass(frozen=True)
class RandomWalks:
    """Scores of walks along random directions, and whether others flicker less.

    Parameters
    ----------
    directions : int, how many random directions, as many for each direction
    frames : int, how many frames of each walk were compared
    image_change : float, ΔE between the ends of a walk, root mean square over pixels, mean over the
        walks
    monotonicity, flicker : mean over the random directions, see
        :class:`latentlab.metrics.walks.PathScores`; flicker in CIELAB
    flicker_of_directions : float, mean of the same measure over the directions
    flickers_less : float in [0, 1], share of the pairs of a direction and one of its random ones in
        which the direction flickers less; ½ by chance
    p_of_flicker : float, two-sided p-value of that share: exact, if each direction is as likely to
        have any rank among its random ones. None with a single direction.
    decodes : int, how many latents were decoded
    """

    directions: int
    frames: int
    image_change: float
    monotonicity: float
    flicker: float
    flicker_of_directions: float
    flickers_less: float
    p_of_flicker: float | None
    decodes: int

    def describe(self) -> dict[str, float | int | None]:
        """Return the fields, JSON-ready: ``random`` in ``traversal.json``."""
        return asdict(self)


def walk_at_random(
    vae: LatentVAE,
    latent: Latent,
    found: Directions,
    frames: Sequence[Tensor],
    alphas: Tensor,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> RandomWalks | None:
    """Return the scores of random directions whose walks change the image as much.

    None for directions without a layout, and if no walk changes the image.

    Parameters
    ----------
    vae, latent, found : as for the walks
    frames : of each walk, (steps, H, W, 3), uint8
    alphas : Tensor, (steps,)
    seed : int, of the directions
    progress : called as ``progress("random directions", done, total)``
    """
    layout = found.layout
    chosen = torch.linspace(0, len(alphas) - 1, min(FRAMES, len(alphas))).round().long()
    walks = [as_lab(one[chosen]) for one in frames]
    changes = [change_of(one) for one in walks]
    if layout is None or not all(changes):
        return None
    count = random_walks_for(len(walks))
    generator = torch.Generator().manual_seed((seed + 1_640_531) % 2**63)
    rows = torch.cat(
        [random_rows(1, layout.n_features, generator) for _ in range(count * len(walks))]
    )
    walker = _Walker(vae, latent, alphas[chosen])
    flickers, monotone = [], []
    for done, row in enumerate(rows):
        which = done // count
        walked = walker.walk(layout.lift(row), changes[which], float(found.step_lengths[which]))
        flickers.append(flicker_of(walked))
        monotone.append(score_path(iter(walked), 1.0).monotonicity)
        if progress:
            progress("random directions", done + 1, len(rows))
    own = [flicker_of(one) for one in walks]
    by_chance = torch.tensor(flickers).view(len(walks), count)
    less, p_value = compare_ranks(torch.tensor(own), by_chance)
    return RandomWalks(
        directions=len(rows),
        frames=len(chosen),
        image_change=sum(changes) / len(changes),
        monotonicity=sum(monotone) / len(monotone),
        flicker=float(by_chance.mean()),
        flicker_of_directions=sum(own) / len(own),
        flickers_less=less,
        p_of_flicker=p_value,
        decodes=walker.decoded,
    )


class _Walker:
    """Walks of a given change of the image; ``decoded`` counts the latents that it took."""

    def __init__(self, vae: LatentVAE, latent: Latent, alphas: Tensor) -> None:
        self.vae, self.latent, self.alphas = vae, latent, alphas
        self.decoded = 0
        self._gain = 0.0  # of the walk before: the first guess of the next

    def walk(self, direction: Tensor, change: float, length: float) -> Tensor:
        """Return the frames (n, 3, H, W) in Lab of a walk whose ends differ by ``change``."""
        length = change / self._gain if self._gain else length
        for _ in range(_REFINEMENTS):
            ends = self._frames(length * direction, self.alphas[[0, -1]])
            seen = change_of(ends)
            if seen <= 0 or abs(seen / change - 1) < _NEAR:
                self._gain = change / length
                if len(self.alphas) < 3:
                    return ends
                inner = self._frames(length * direction, self.alphas[1:-1])
                return torch.cat([ends[:1], inner, ends[1:]])
            length *= min(10.0, max(0.1, change / seen))
        self._gain = change / length
        return self._frames(length * direction, self.alphas)

    def _frames(self, step: Tensor, alphas: Tensor) -> Tensor:
        latents = self.latent.values + alphas[:, None, None, None] * step
        self.decoded += len(latents)
        return as_lab(torch.stack([to_uint8(one) for one in decode_each(self.vae, latents)]))


def as_lab(frames: Tensor) -> Tensor:
    """Return frames (n, H, W, 3), uint8, as (n, 3, H, W) in CIELAB."""
    return to_lab(frames.permute(0, 3, 1, 2).float() / 255)


def change_of(frames: Tensor) -> float:
    """Return ΔE between the first and the last frame (n, 3, H, W), root mean square over pixels."""
    return float((frames[-1] - frames[0]).square().sum(0).mean().sqrt())


def flicker_of(frames: Tensor) -> float:
    """Return the mean norm of second differences of frames over that of first differences."""
    return score_path(iter(frames), 1.0).flicker


def random_walks_for(k: int) -> int:
    """Return how many random directions each of k takes for a p-value that can be below 5 %.

    Examples
    --------
    >>> [random_walks_for(k) for k in (1, 2, 3, 5, 8)]
    [5, 6, 3, 2, 1]
    """
    if k == 1:
        return _ALONE
    return next(count for count in range(1, _ENOUGH) if (count + 1) ** k >= _ENOUGH)


def compare_ranks(own: Tensor, by_chance: Tensor) -> tuple[float, float | None]:
    """Return the share of pairs in which the first is smaller, and its exact two-sided p-value.

    Parameters
    ----------
    own : Tensor, (k,)
    by_chance : Tensor, (k, r); each row is compared with its own entry alone (van Elteren 1960)

    Examples
    --------
    >>> compare_ranks(torch.zeros(5), torch.ones(5, 2)) == (1.0, 2 / 3**5)
    True
    """
    k, r = by_chance.shape
    pairs = (own[:, None] < by_chance).double() + (own[:, None] == by_chance).double() / 2
    score, whole = float(pairs.sum()), k * r
    if k < 2:
        return score / whole, None
    ways = torch.ones(1, dtype=torch.float64)
    for _ in range(k):
        ways = torch.nn.functional.conv1d(
            ways.view(1, 1, -1), torch.ones(1, 1, r + 1, dtype=torch.float64), padding=r
        ).flatten()
    extreme = max(score, whole - score)
    upper = float(ways[math.ceil(extreme - 1e-9) :].sum() / ways.sum())
    return score / whole, min(1.0, 2 * upper)
