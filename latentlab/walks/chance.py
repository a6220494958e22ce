"""Walks along random directions that change the image as much: what scores have by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain

import torch
from torch import Tensor

from latentlab.encoding.encoder import decode_each
from latentlab.latents import Directions, Latent, Progress
from latentlab.linalg.bases import random_rows
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.walks import PathScores, score_path

RANDOM_WALKS = 5
_REFINEMENTS, _CLOSE = 3, 0.05


@dataclass(frozen=True)
class RandomWalks:
    """Scores of walks along random directions, and whether others flicker less.

    Parameters
    ----------
    directions : int, how many random directions
    image_change : float, mean absolute difference of the two ends of a walk, as a fraction of the
        range from black to white; that of the walks they are compared with
    monotonicity, flicker : mean over the random directions, see
        :class:`latentlab.metrics.walks.PathScores`
    flickers_less : float in [0, 1], share of the pairs of a direction and a random one in which the
        direction flickers less; ½ by chance
    p_of_flicker : float, two-sided p-value of that share (Mann and Whitney, exact); None with a
        single direction
    decodes : int, how many latents were decoded
    """

    directions: int
    image_change: float
    monotonicity: float
    flicker: float
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
    ends: Tensor,
    scores: Sequence[PathScores],
    alphas: Tensor,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> RandomWalks | None:
    """Return the scores of random directions whose walks change the image as much.

    None for directions without a layout, and for walks that change nothing.

    Steps of equal length would compare walks that change the image by very different amounts, and
    every score depends on that amount: so each random step is made as long as it takes.

    Parameters
    ----------
    vae, latent, found : as for the walks
    ends : Tensor, (k, 2, H, W, 3), uint8; first and last frame of each walk
    scores : of each walk
    alphas : Tensor, (steps,)
    seed : int, of the directions
    progress : called as ``progress("random directions", done, total)``
    """
    layout = found.layout
    change = float((ends[:, 1].float() - ends[:, 0].float()).abs().mean()) / 255
    if layout is None or not change:
        return None
    count = min(RANDOM_WALKS, layout.n_features)
    generator = torch.Generator().manual_seed((seed + 1_640_531) % 2**63)
    rows = random_rows(count, layout.n_features, generator)
    decoded, by_chance = 0, []
    length = float(found.step_lengths[: len(ends)].mean())
    for done, row in enumerate(rows, 1):
        direction = layout.lift(row)
        length, shown, tried = _as_far(vae, latent, direction, float(alphas[-1]), change, length)
        latents = latent.values + alphas[:, None, None, None] * (length * direction)
        inner = latents[1:-1] if shown else latents
        images = decode_each(vae, inner) if len(inner) else iter(())
        frames = chain(shown[:1], images, shown[1:])
        by_chance.append(score_path(frames, float(alphas[1] - alphas[0])))
        decoded += tried + len(inner)
        if progress:
            progress("random directions", done, count)
    less, p_value = _compare([one.flicker for one in scores], [one.flicker for one in by_chance])
    monotonicity = sum(one.monotonicity for one in by_chance) / count
    flicker = sum(one.flicker for one in by_chance) / count
    return RandomWalks(count, change, monotonicity, flicker, less, p_value, decoded)


def _as_far(
    vae: LatentVAE, latent: Latent, direction: Tensor, span: float, change: float, length: float
) -> tuple[float, list[Tensor], int]:
    """Return the length of a step at which the ends of a walk differ by this change.

    With it come the images at both ends, none if the last length was not tried any more, and how
    many latents were decoded.
    """
    for tried in range(1, _REFINEMENTS + 1):
        step = span * length * direction
        pair = torch.stack([latent.values - step, latent.values + step])
        ends = list(decode_each(vae, pair))
        low, high = (image.clamp(-1, 1) for image in ends)
        seen = float((high - low).abs().mean()) / 2
        if seen <= 0 or abs(seen / change - 1) < _CLOSE:
            return length, ends, 2 * tried
        length *= min(10.0, max(0.1, change / seen))
    return length, [], 2 * _REFINEMENTS


def _compare(flickers: Sequence[float], by_chance: Sequence[float]) -> tuple[float, float | None]:
    """Return the share of pairs in which the first is smaller, and the p-value."""
    from scipy.stats import mannwhitneyu

    found = mannwhitneyu(by_chance, flickers, alternative="two-sided", method="exact")
    less = float(found.statistic) / (len(flickers) * len(by_chance))
    return less, float(found.pvalue) if len(flickers) > 1 else None
