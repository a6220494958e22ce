"""Angles and overlap of two sets of directions, and the overlap expected by chance.

Sets are matrices of rows (k, D) that need not be orthonormal: only their span matters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentlab.errors import ShapeError, UsageError

_RANK_TOLERANCE = 1e-6


def principal_angles(a: Tensor, b: Tensor) -> Tensor:
    """Return the angles (min(k, m),), radians in [0, π/2], ascending, between two spans.

    The first is the smallest angle between any direction of one span and any of the other; all
    are 0 if one span lies within the other. Small angles come from sines and large ones from
    cosines, so both are exact to rounding. Source: Björck and Golub 1973; Knyazev and Argentati
    2002.

    Parameters
    ----------
    a : Tensor, (k, D), linearly independent rows
    b : Tensor, (m, D), linearly independent rows

    Returns
    -------
    Tensor : float64, on the CPU; SciPy's ``subspace_angles`` has them in descending order

    Raises
    ------
    ShapeError : not two matrices with rows of the same length, or more rows than columns.
    UsageError : linearly dependent rows.

    Examples
    --------
    >>> plane, line = torch.eye(4)[:2], torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    >>> principal_angles(plane, line).rad2deg()
    tensor([45.0000], dtype=torch.float64)
    """
    _check_pair(a, b)
    few, many = sorted((orthonormal_rows(a), orthonormal_rows(b)), key=len)
    left, cosines, _ = torch.linalg.svd(few @ many.T, full_matrices=False)
    matched = left.T @ few
    # Sines of the matched pairs: the part of each that lies outside the other span.
    sines = (matched - (matched @ many.T) @ many).norm(dim=1)
    small = cosines.square() > 0.5
    angles = torch.where(small, sines.clamp(max=1).asin(), cosines.clamp(0, 1).acos())
    return angles.sort().values


def subspace_overlap(a: Tensor, b: Tensor) -> float:
    """Return the mean squared cosine of the principal angles, in [0, 1].

    1 if one span lies within the other, 0 if the spans are orthogonal; :func:`random_overlap` is
    the value expected by chance.

    Parameters
    ----------
    a, b : Tensor, (k, D) and (m, D), linearly independent rows

    Raises
    ------
    ShapeError, UsageError : as for :func:`principal_angles`.

    Examples
    --------
    >>> subspace_overlap(torch.eye(4)[:2], torch.eye(4)[1:3])
    0.5
    """
    _check_pair(a, b)
    cosines = orthonormal_rows(a) @ orthonormal_rows(b).T
    return float(cosines.square().sum()) / min(len(a), len(b))


def random_overlap(k: int, m: int, dimensions: int) -> float:
    """Return the mean overlap of uniformly random spans of k and m dimensions in D dimensions.

    E‖ABᵀ‖² = km/D for orthonormal rows A, B, so the mean squared cosine of the min(k, m) angles
    is max(k, m)/D.

    Parameters
    ----------
    k, m : int, dimensions of the two spans, 1 to D
    dimensions : int, D

    Raises
    ------
    UsageError : k or m is not between 1 and D.

    Examples
    --------
    >>> random_overlap(8, 8, 4096)
    0.001953125
    """
    _check_dimensions(k, m, dimensions)
    return max(k, m) / dimensions


def random_overlap_deviation(k: int, m: int, dimensions: int) -> float:
    """Return the standard deviation of the overlap of uniformly random spans.

    ‖ABᵀ‖² is the trace of a matrix-variate beta: its variance is
    2km(D−k)(D−m) / (D²(D−1)(D+2)). An overlap many standard deviations above
    :func:`random_overlap` is unlikely to be due to chance.

    Parameters and errors as for :func:`random_overlap`.

    Examples
    --------
    >>> round(random_overlap_deviation(8, 8, 4096), 6)
    0.000345
    """
    _check_dimensions(k, m, dimensions)
    if dimensions == 1:
        return 0.0
    d = dimensions
    variance = 2 * k * m * (d - k) * (d - m) / (d**2 * (d - 1) * (d + 2))
    return math.sqrt(variance) / min(k, m)


def grassmann_distance(a: Tensor, b: Tensor) -> float:
    """Return the geodesic distance of two spans: the root of the sum of squared principal angles.

    In radians; 0 for the same span, at most √min(k, m)·π/2.

    Parameters
    ----------
    a, b : Tensor, (k, D) and (m, D), linearly independent rows

    Raises
    ------
    ShapeError, UsageError : as for :func:`principal_angles`.

    Examples
    --------
    >>> round(grassmann_distance(torch.eye(4)[:2], torch.eye(4)[1:3]), 4)
    1.5708
    """
    return float(principal_angles(a, b).norm())


def orthonormal_rows(rows: Tensor) -> Tensor:
    """Return an orthonormal basis (k, D), float64 on the CPU, of the span of rows (k, D).

    Raises
    ------
    UsageError : linearly dependent rows, or NaN.
    """
    basis: Tensor
    basis, triangle = torch.linalg.qr(rows.detach().double().cpu().T)
    # Relative to each row's length, so that a short row does not count as dependent.
    lengths = triangle.norm(dim=0)
    if not bool((triangle.diagonal().abs() > _RANK_TOLERANCE * lengths).all()):
        raise UsageError(
            f"{len(rows)} linearly dependent directions",
            "linearly independent rows without NaN",
            "leave the repeated directions out",
        )
    return basis.T


def _check_pair(a: Tensor, b: Tensor) -> None:
    shapes = tuple(a.shape), tuple(b.shape)
    matrices = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1]
    if not matrices or not all(1 <= rows <= columns for rows, columns in shapes):
        raise ShapeError(
            f"directions of shapes {shapes[0]} and {shapes[1]}",
            "two matrices (k, D) and (m, D) with k and m from 1 to D",
            "flatten each direction into one row of the same layout",
        )


def _check_dimensions(k: int, m: int, dimensions: int) -> None:
    if not (1 <= k <= dimensions and 1 <= m <= dimensions):
        raise UsageError(
            f"spans of {k} and {m} dimensions among {dimensions}",
            f"1 to {dimensions} dimensions each",
            "lower the number of directions",
        )
