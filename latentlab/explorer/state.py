"""Where on the page one is, and the latent that this stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from latentlab.latents import Directions

LARGEST_ALPHA = 12.0
"""How far a slider or a stroke may go, in steps of its direction."""


@dataclass(frozen=True)
class Stroke:
    """One stroke of the brush, which moves the cells below it along a direction.

    Parameters
    ----------
    direction : int, the direction's index
    amount : float, in steps of the direction, at the middle of the brush
    radius : float, of the brush, as a share of the image's longer side
    points : (x, y), from 0 to 1 across and down the image, along the stroke
    """

    direction: int
    amount: float
    radius: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class State:
    """Everything that decides which image is shown.

    Parameters
    ----------
    alphas : steps along each direction; directions beyond the last are at 0
    strokes : painted on top
    blend : float in [0, 1]; 0 is the image, 1 the other image
    """

    alphas: tuple[float, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    blend: float = 0.0


def latent_of(
    state: State, start: Tensor, directions: Directions | None, other: Tensor | None = None
) -> Tensor:
    """Return the latent (C, h, w) of a state.

    It is ``blend(start, other) + Σ (α_k + m_k) σ_k v_k``, where m_k is the map (h, w) of what was
    painted along direction k, and the blend is the straight line.

    Parameters
    ----------
    state : State; what concerns directions that do not exist has no effect
    start : Tensor, (C, h, w), model space
    directions : Directions at ``start``; None before any were found
    other : Tensor like ``start``, optional

    Examples
    --------
    >>> start = torch.zeros(1, 2, 2)
    >>> latent_of(State(blend=0.25), start, None, start + 1).flatten().tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    latent = start if other is None else torch.lerp(start, other, state.blend)
    if directions is None:
        return latent
    count = len(directions.vectors)
    for k, alpha in enumerate(state.alphas[:count]):
        if alpha:
            latent = latent + alpha * _step(directions, k)
    for stroke in state.strokes:
        if stroke.direction < count:
            weight = brush_map(stroke, latent.shape[-2], latent.shape[-1])
            latent = latent + stroke.amount * weight * _step(directions, stroke.direction)
    return latent


def brush_map(stroke: Stroke, rows: int, columns: int) -> Tensor:
    """Return how much of a stroke each cell (rows, columns) gets, from 0 to 1.

    ``(1 − d²/r²)²`` at distance d from the nearest point of the stroke, and 0 beyond the radius r;
    distances are shares of the longer side.

    Examples
    --------
    >>> brush_map(Stroke(0, 1.0, 0.5, ((0.5, 0.5),)), 1, 3).numpy().round(2)
    array([[0.31, 1.  , 0.31]], dtype=float32)
    """
    longer = max(rows, columns)
    y = (torch.arange(rows) + 0.5)[:, None, None] / longer
    x = (torch.arange(columns) + 0.5)[None, :, None] / longer
    places = torch.tensor(stroke.points).view(-1, 2)
    across, down = places[:, 0] * columns / longer, places[:, 1] * rows / longer
    square = ((x - across) ** 2 + (y - down) ** 2).amin(-1) / stroke.radius**2
    return (1 - square).clamp_min(0) ** 2


def _step(directions: Directions, k: int) -> Tensor:
    return float(directions.step_lengths[k]) * directions.vectors[k]


def matched(state: State, indices: Sequence[int], signs: Sequence[int]) -> State:
    """Return a state of one model's directions as one of another model's that match them.

    Parameters
    ----------
    state : State of the first model
    indices, signs : for each direction of the first model the other's, and 1 or −1

    Examples
    --------
    >>> matched(State((2.0, 1.0)), [1, 0], [-1, 1]).alphas
    (1.0, -2.0)
    """
    alphas = [0.0] * (max(indices, default=-1) + 1)
    for alpha, index, sign in zip(state.alphas, indices, signs, strict=False):
        alphas[index] += sign * alpha
    strokes = tuple(
        Stroke(
            indices[stroke.direction],
            signs[stroke.direction] * stroke.amount,
            stroke.radius,
            stroke.points,
        )
        for stroke in state.strokes
        if stroke.direction < len(indices)
    )
    return State(tuple(alphas), strokes, state.blend)
