"""Spherical linear interpolation (slerp) of two vectors of any shape."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentlab.errors import UsageError

_PARALLEL = 1e-4


def slerp(first: Tensor, last: Tensor, weights: Tensor | float) -> Tensor:
    """Return the spherical linear interpolation of two vectors, without normalizing them.

    sin((1 − t) a) / sin(a) · first + sin(t a) / sin(a) · last, where a is the angle between the
    vectors (Shoemake 1985, "Animating rotation with quaternion curves"). Between unit vectors this
    is the great circle. Between vectors of different norms it is an arc of an ellipse. It is the
    straight line if the vectors are within 1e-4 radians of each other or one of them is zero.

    Parameters
    ----------
    first, last : Tensor, floating point, of one shape (…); flattened, in float64, for the angle
    weights : float or Tensor (T,); t, which is 0 at ``first`` and 1 at ``last``

    Returns
    -------
    Tensor (…) for a float, (T, …) for a tensor of weights; dtype and device of ``first``

    Raises
    ------
    UsageError : the vectors are opposite, within 1e-4 radians: every great circle joins them.

    Examples
    --------
    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.5, 1.0]))
    tensor([[1.0000, 0.0000],
            [0.7071, 2.1213],
            [0.0000, 3.0000]])
    """
    position = torch.as_tensor(weights, dtype=torch.float64)
    column = position.reshape(*position.shape, *[1] * first.ndim)
    angle = _angle_between(first, last)
    if angle < _PARALLEL:
        return torch.lerp(first, last, column.to(first))
    if math.pi - angle < _PARALLEL:
        raise UsageError(
            "a slerp between opposite latents",
            "latents less than 180° apart",
            "choose the linear path instead",
        )
    before, after = (torch.sin(part * angle) / math.sin(angle) for part in (1 - column, column))
    return before.to(first) * first + after.to(first) * last


def _angle_between(first: Tensor, last: Tensor) -> float:
    """Return the angle between two vectors in radians; 0 if one of them is zero."""
    a, b = first.double().flatten(), last.double().flatten()
    lengths = float(a.norm()) * float(b.norm())
    return math.acos(max(-1.0, min(1.0, float(a @ b) / lengths))) if lengths else 0.0
