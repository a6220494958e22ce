"""Sprites with known factors, drawn here: one white shape on black, after dSprites.

The factors are those of dSprites (Matthey et al. 2017): shape, scale, orientation, x and y. Sprites
are drawn from formulas, so that they need no file and have any size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latentlab.errors import ShapeError

SHAPES = ("square", "ellipse", "triangle")
FACTORS = ("shape", "scale", "orientation", "x", "y")
RANGES = {
    "scale": (0.2, 0.4),
    "orientation": (-np.pi / 4, np.pi / 4),
    "x": (-0.5, 0.5),
    "y": (-0.5, 0.5),
}
"""Factor → lowest and highest value. Lengths count in half sides of the image, angles in radians.

A square looks the same after a quarter turn, so orientations span one.
"""
_FINER = 3
"""Points for each pixel and axis, whose mean is the level of the pixel."""


def draw_factors(count: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Return factors (count, 5) in the order of ``FACTORS``, independent and uniform.

    The shape is a whole number, the place of its name in ``SHAPES``.

    Examples
    --------
    >>> factors = draw_factors(1000)
    >>> sorted(set(factors[:, 0])), bool(abs(factors[:, 3]).max() <= 0.5)
    ([np.float64(0.0), np.float64(1.0), np.float64(2.0)], True)
    """
    rng = np.random.default_rng(seed)
    shapes = rng.integers(0, len(SHAPES), count).astype(np.float64)
    low, high = np.array([*RANGES.values()]).T
    return np.column_stack([shapes, rng.uniform(low, high, (count, len(low)))])


def draw_sprites(factors: NDArray[np.float64], side: int = 64) -> NDArray[np.uint8]:
    """Return sprites (n, side, side, 3), white on black with smooth edges, of factors (n, 5).

    Parameters
    ----------
    factors : array (n, 5), as :func:`draw_factors` returns them
    side : int, pixels

    Raises
    ------
    ShapeError : factors of another shape.

    Examples
    --------
    >>> sprite = draw_sprites(np.array([[0, 0.25, 0, 0, 0.0]]), 64)[0]
    >>> sprite.shape, int(sprite[32, 32, 0]), int(sprite[0, 0, 0])
    ((64, 64, 3), 255, 0)
    """
    rows = np.asarray(factors, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(FACTORS):
        raise ShapeError(
            f"factors of shape {rows.shape}", f"(n, {len(FACTORS)})", f"pass {', '.join(FACTORS)}"
        )
    if not np.isin(rows[:, 0], range(len(SHAPES))).all():
        raise ShapeError("a sprite of an unknown shape", "0, 1 or 2", f"see SHAPES: {SHAPES}")
    fine = side * _FINER
    axis = (np.arange(fine) + 0.5) / fine * 2 - 1
    found = np.empty((len(rows), side, side, 3), np.uint8)
    for number, (shape, scale, angle, x, y) in enumerate(rows):
        across, down = (axis - x)[None] / scale, (axis - y)[:, None] / scale
        u = np.cos(angle) * across + np.sin(angle) * down
        v = np.cos(angle) * down - np.sin(angle) * across
        inside = _inside(SHAPES[int(shape)], u, v)
        levels = inside.reshape(side, _FINER, side, _FINER).mean((1, 3)) * 255
        found[number] = np.rint(levels)[..., None]
    return found


def _inside(shape: str, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points are inside a shape of size 1, centered and upright."""
    if shape == "square":
        found = np.maximum(np.abs(u), np.abs(v)) < 0.8
    elif shape == "ellipse":
        found = u**2 + (v / 0.6) ** 2 < 1
    else:
        found = (v < 0.8) & (np.abs(u) < 0.4 * (v + 1))
    return np.asarray(found, np.bool_)
