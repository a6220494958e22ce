"""Which factors vary at all: one that never does says nothing about a code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import UsageError

_ROUNDING = 1e-9


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
