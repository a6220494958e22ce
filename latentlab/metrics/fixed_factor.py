"""Batches of rows that agree in one factor, which two of the metrics are made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BATCH = 64
"""Rows in a batch."""


def agreeing_batches(
    factors: NDArray[np.int64], count: int, rng: np.random.Generator, *, batch: int = BATCH
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield a factor k and indices (batch,) of rows that have one value of it, ``count`` times.

    Factor and value are drawn at random, the value as often as it occurs; rows may repeat.

    Parameters
    ----------
    factors : array, (N, K), whole numbers
    """
    orders = [np.argsort(column, kind="stable") for column in factors.T]
    counts = [np.bincount(column) for column in factors.T]
    for _ in range(count):
        factor = int(rng.integers(len(orders)))
        value = factors[rng.integers(len(factors)), factor]
        start, size = counts[factor][:value].sum(), counts[factor][value]
        yield factor, orders[factor][start + rng.integers(size, size=batch)]
