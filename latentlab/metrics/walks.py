"""Scores of a walk: how much, how steadily and how smoothly its images change."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# A value that rounds to another 8-bit level when it is clamped counts as clipped.
_CLIP_TOLERANCE = 1 / 255


@dataclass(frozen=True)
class PathScores:
    """Scores of the frames of one path.

    Parameters
    ----------
    pixel_change : float, mean absolute change of a pixel for each standard deviation stepped,
        as a fraction of the range from black to white
    monotonicity : float in [−1, 1], Spearman correlation of the step with the distance from the
        first frame; 1 when every step leads further away
    flicker : float, mean norm of second differences over mean norm of first differences of
        consecutive frames; 0 for a straight line, √3 for unrelated frames
    clipped : float in [0, 1], share of pixel values outside [−1, 1]
    """

    pixel_change: float
    monotonicity: float
    flicker: float
    clipped: float


def score_path(frames: Iterable[Tensor], step: float) -> PathScores:
    """Return the scores of frames (3, H, W), in [−1, 1] but not clamped, read one at a time.

    Parameters
    ----------
    frames : at least two images, in the order of the path
    step : float, standard deviations between consecutive frames
    """
    changes: list[float] = []
    first_norms: list[float] = []
    second_norms: list[float] = []
    distances: list[float] = []
    clipped: list[float] = []
    start = previous = difference = None
    for frame in frames:
        clipped.append(float((frame.abs() > 1 + _CLIP_TOLERANCE).double().mean()))
        start = frame if start is None else start
        distances.append(float((frame - start).norm()))
        if previous is not None:
            last, difference = difference, frame - previous
            changes.append(float(difference.abs().mean()) / 2)
            first_norms.append(float(difference.norm()))
            if last is not None:
                second_norms.append(float((difference - last).norm()))
        previous = frame
    return PathScores(
        pixel_change=_mean(changes) / step,
        monotonicity=_rank_correlation(distances),
        flicker=_mean(second_norms) / _mean(first_norms) if any(first_norms) else 0.0,
        clipped=_mean(clipped),
    )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _rank_correlation(values: list[float]) -> float:
    """Return Spearman's correlation of values with their position.

    0 where all are equal, and NaN where one is NaN.
    """
    if any(map(math.isnan, values)):
        return math.nan
    if len(set(values)) < 2:
        return 0.0
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[places]  # equal values share their mean rank
    return float(np.corrcoef(np.arange(1, len(values) + 1), ranks)[0, 1])
