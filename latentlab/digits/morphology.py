"""Measurements of handwritten digits: slant, thickness, width, height, area, length.

They are defined as in Morpho-MNIST (Castro et al. 2019, arXiv:1809.11055), and computed for many
images at once.
Lengths are in pixels of the image, angles in radians.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.digits.skeleton import skeletonize
from latentlab.errors import ShapeError

FACTORS = ("slant", "thickness", "width", "height", "area", "length")
"""Names of the measurements of :func:`measure_digits`."""

UNITS = dict.fromkeys(FACTORS, "px") | {"slant": "rad", "area": "px²"}

_SCALE = 4
_THRESHOLD = 0.5
_OUTSIDE = 0.02
_CHUNK = 500


def slant_of(images: ArrayLike) -> NDArray[np.float64]:
    """Return the slant in radians (N,): positive if leaning to the right, NaN without ink.

    It is arctan(−u₁₁/u₀₂), with central moments u₁₁ of x and y and u₀₂ of y, where y points down.
    The shear x → x + a(ȳ − y) adds exactly a to the tangent.

    Parameters
    ----------
    images : array, (N, H, W) or (N, 1, H, W), in [0, 1], ink is 1

    Raises
    ------
    ShapeError : an array of another shape.

    Examples
    --------
    >>> slash = np.fliplr(np.eye(9))
    >>> float(np.degrees(slant_of(slash[None])[0]).round(6))
    45.0
    """
    _, _, shear = _centered(_as_stack(images))
    return np.arctan(-shear)


def measure_digits(images: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return each factor's values (N,), by name; NaN for images without ink.

    Slant, width and height come from the gray image. Width and height are the extent of the
    middle 98 % of the ink; the slant is undone before the width is measured. Area, thickness and
    length come from the image enlarged 4 times, smoothed, and cut halfway between its darkest
    and brightest pixel. Thickness is twice the mean distance from the skeleton to the edge.

    Parameters
    ----------
    images : array, (N, H, W) or (N, 1, H, W), in [0, 1], ink is 1

    Raises
    ------
    ShapeError : an array of another shape.
    """
    gray = _as_stack(images)
    rows, columns, shear = _centered(gray)
    upright = columns[:, None, :] - shear[:, None, None] * rows[:, :, None]
    width = [_middle(where.ravel(), ink.ravel()) for where, ink in zip(upright, gray, strict=True)]
    height = [_middle(where, ink) for where, ink in zip(rows, gray.sum(2), strict=True)]
    chunks = [gray[start : start + _CHUNK] for start in range(0, len(gray), _CHUNK)]
    thickness, area, length = np.hstack([_measure_strokes(chunk) for chunk in chunks])
    values = (np.arctan(-shear), thickness, np.array(width), np.array(height), area, length)
    return dict(zip(FACTORS, values, strict=True))


def _as_stack(images: ArrayLike) -> NDArray[np.float64]:
    stack = np.asarray(images, np.float64)
    if stack.ndim == 4 and stack.shape[1] == 1:
        stack = stack[:, 0]
    if stack.ndim != 3 or stack.size == 0:
        raise ShapeError(
            f"images of shape {np.shape(images)}", "(N, H, W)", "pass a stack of gray images"
        )
    return stack


def _centered(gray: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return rows (N, H) and columns (N, W) relative to the center of mass, and u₁₁/u₀₂ (N,)."""
    mass = gray.sum((1, 2))
    rows, columns = (np.arange(length, dtype=np.float64) for length in gray.shape[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = rows - (gray.sum(2) @ rows / mass)[:, None]
        columns = columns - (gray.sum(1) @ columns / mass)[:, None]
        mixed = np.einsum("nij,ni,nj->n", gray, rows, columns) / mass
        vertical = np.einsum("nij,ni->n", gray, rows**2) / mass
        return rows, columns, mixed / vertical


def _middle(where: NDArray[np.float64], ink: NDArray[np.float64]) -> float:
    """Return the extent of the middle 98 % of the ink."""
    if not np.isfinite(where).all():
        return np.nan
    order = np.argsort(where, kind="stable")
    reached = np.cumsum(ink[order]) - ink[order] / 2
    ends = np.interp([_OUTSIDE / 2, 1 - _OUTSIDE / 2], reached / ink.sum(), where[order])
    return float(ends[1] - ends[0])


def _measure_strokes(gray: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return thickness, area and length (3, N)."""
    from scipy.ndimage import distance_transform_edt

    binary = enlarge(gray)
    skeletons = skeletonize(binary)
    distances = [
        distance_transform_edt(image)[line].mean() if line.any() else np.nan
        for image, line in zip(binary, skeletons, strict=True)
    ]
    thickness = 2 * np.array(distances) / _SCALE
    area = binary.sum((1, 2)) / _SCALE**2
    length = _path_lengths(skeletons) / _SCALE
    return np.where(binary.any((1, 2)), [thickness, area, length], np.nan)


def enlarge(gray: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return images (N, H, W) as binary ones four times as large (N, 4H, 4W)."""
    rows, columns = (_enlargement(length) for length in gray.shape[1:])
    smooth = rows @ gray @ columns.T
    low, high = gray.min((1, 2)), gray.max((1, 2))
    cut = low + _THRESHOLD * (high - low)
    return np.asarray((smooth > cut[:, None, None]) & (high > low)[:, None, None])


@cache
def _enlargement(length: int) -> NDArray[np.float64]:
    """Return the matrix (4n, n) that enlarges a row of n pixels: cubic splines, then a blur."""
    from scipy.ndimage import gaussian_filter1d, zoom

    splines = zoom(np.eye(length), (_SCALE, 1), order=3, mode="nearest", grid_mode=True)
    # A blur of a third of a pixel keeps the enlargement from ringing.
    return np.asarray(gaussian_filter1d(splines, _SCALE / 3, axis=0, mode="nearest"))


def _path_lengths(skeletons: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the length of each skeleton (N,): 1 for a straight step, √2 for a diagonal one."""
    right = (skeletons[:, :, :-1] & skeletons[:, :, 1:]).sum((1, 2))
    down = (skeletons[:, :-1] & skeletons[:, 1:]).sum((1, 2))
    falling = (skeletons[:, :-1, :-1] & skeletons[:, 1:, 1:]).sum((1, 2))
    rising = (skeletons[:, :-1, 1:] & skeletons[:, 1:, :-1]).sum((1, 2))
    return np.asarray(right + down + np.sqrt(2) * (falling + rising))
