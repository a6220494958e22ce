"""What kind a factor is: whether it varies at all, and whether its values are classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import UsageError

_ROUNDING = 1e-9
MOST_CLASSES = 20
"""Different whole numbers that floats may have to be classes."""


def varying(factors: ArrayLike) -> NDArray[np.bool_]:
    """Return which columns (K,) of factors (N, K) vary by more than rounding.

    Examples
    --------
    >>> varying(np.array([[0.0, 0.1], [1.0, 0.1]])).tolist()
    [True, False]
    """
    columns = np.asarray(factors)
    low, high = columns.min(0), columns.max(0)
    moves: NDArray[np.bool_] = high - low > _ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return moves


def keep_varying(factors: ArrayLike) -> NDArray[Any]:
    """Return the columns of factors (N, K) that vary.

    Raises
    ------
    UsageError : none does.
    """
    columns = np.asarray(factors)
    moves = varying(columns)
    if not moves.any():
        raise UsageError(
            f"{columns.shape[1]} factors that never vary",
            "at least one that does",
            "pass images or samples that differ in some factor",
        )
    kept: NDArray[Any] = columns[:, moves]
    return kept


def standardized(codes: ArrayLike, *more: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Return codes (N, L) with mean 0 and variance 1, columns that never vary with 0, and more.

    Further rows (M, L) are shifted and scaled as the first ones are, so that a score that learns
    from the first and is checked on the others does not depend on the units of the codes.

    Examples
    --------
    >>> first, more = standardized([[0.0, 7], [2, 7]], [[4.0, 8]])
    >>> first.tolist(), more.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[3.0, 1.0]])
    """
    first = np.asarray(codes, np.float64)
    spread = np.where(varying(first), first.std(0), 1.0)
    mean = np.where(varying(first), first.mean(0), first[0])
    return tuple((np.asarray(one, np.float64) - mean) / spread for one in (first, *more))


def are_classes(factors: ArrayLike) -> NDArray[np.bool_]:
    """Return which columns (K,) of factors (N, K) are classes.

    Integers are; floats are if all are whole and at most 20 of them differ.

    Examples
    --------
    >>> are_classes(np.array([[0.0, 0.1], [1.0, 0.1]])).tolist()
    [True, False]
    """
    columns = np.asarray(factors)
    if np.issubdtype(columns.dtype, np.integer):
        return np.ones(columns.shape[1], np.bool_)
    return np.array([_has_few_whole(column) for column in columns.T], np.bool_)


def _has_few_whole(column: NDArray[Any]) -> bool:
    whole = bool((column == np.round(column)).all())
    return whole and len(np.unique(column)) <= MOST_CLASSES
