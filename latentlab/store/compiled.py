"""Loops over 16-bit latents, compiled by numba where it is installed, and plain Python elsewhere.

They do in one pass what takes torch ten operations, and hold no lock meanwhile. Importing this
module imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.metrics.moments import Histogram
from latentlab.store.block_sums import BlockSums

try:
    from numba import njit
except ImportError:  # missing, or too old for this NumPy
    njit = None

HAS_NUMBA = njit is not None

F = TypeVar("F", bound=Callable[..., Any])

TILE = 256
"""Cells that are summed at a time: those of all channels fit into the cache in float64."""
_TOGETHER = 2**18
"""Values that torch makes float32 at a time."""


def _compiled(**options: Any) -> Callable[[F], F]:
    """Return a decorator that compiles a function when it is called first, and keeps the code."""
    if njit is None:
        return lambda function: function

    def decorate(function: F) -> F:
        compiled: F
        try:
            compiled = njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder can be written where numba would keep the code
            compiled = njit(nogil=True, **options)(function)
        return compiled

    return decorate


def fused_sums(latents: Tensor, shift: Tensor) -> BlockSums:
    """Return the sums of 16-bit latents (n, C, h, w), n > 0, about a shift (C,), with two powers.

    As :meth:`BlockSums.of`, but the sums of each latent are as precise as float64.

    Examples
    --------
    >>> latents = torch.tensor([[[[1.0, 2]]], [[[3.0, 4]]]]).half()
    >>> found = fused_sums(latents, torch.zeros(1, dtype=torch.float64))
    >>> found.powers[:, :, 0].tolist(), found.products.tolist(), found.places.tolist()
    ([[3.0, 7.0], [5.0, 25.0]], [[30.0]], [[[4.0, 6.0]]])
    """
    n, channels, *sides = latents.shape
    values = latents.flatten(2)
    cells, even = values.shape[2], channels + channels % 2
    double: Any = {"dtype": torch.float64}
    powers, products = torch.zeros(2, n, even, **double), torch.zeros(even, even, **double)
    places, space = torch.zeros(channels, cells, **double), torch.zeros(even, TILE, **double)
    norms, about = torch.zeros(n, cells), shift.double().contiguous().numpy()
    common = products.numpy(), places.numpy()
    together = max(1, _TOGETHER // max(1, channels * cells))
    wide = torch.empty(min(n, together), channels, cells)
    for start in range(0, n, together):
        part = slice(start, start + together)
        some = wide[: len(values[part])].copy_(values[part]).numpy()
        sum_latents(
            some, about, powers[:, part].numpy(), *common, norms[part].numpy(), space.numpy()
        )
    lower = products[:channels, :channels].tril()
    whole = lower + lower.tril(-1).T
    shape = channels, sides[0], sides[1]
    return BlockSums(shape, powers[..., :channels], whole, places.view(shape), norms.sqrt_())


def count_into(histogram: Histogram, values: Tensor) -> None:
    """Count finite values (n, rows, cells) of any dtype, as :meth:`Histogram.add` does.

    Examples
    --------
    >>> found = Histogram(1)
    >>> count_into(found, torch.tensor([[[0.0, 1, 5, 1]]]))
    >>> found.quantiles(torch.tensor([0.0, 0.5, 1])).tolist()
    [[0.0, 1.0, 5.0]]
    """
    patterns = histogram.rounded(values).contiguous().view(torch.uint16)
    count_patterns(patterns.numpy(), histogram.counts.numpy())


# Sums in float64 may be added in any order, so that a processor adds several numbers at a time.
# No other rule of floating-point numbers is relaxed.
_in_any_order = _compiled(fastmath={"reassoc", "contract"})


@_compiled()
def count_patterns(patterns: NDArray[np.uint16], counts: NDArray[np.int64]) -> None:
    """Add how often each pattern of 16 bits (n, C, cells) came to counts (C, 65536).

    Examples
    --------
    >>> counts = np.zeros((1, 2**16), np.int64)
    >>> count_patterns(np.array([[[7, 7, 9]]], np.uint16), counts)
    >>> counts[0, 6:10].tolist()
    [0, 2, 0, 1]
    """
    n, channels, cells = patterns.shape
    for c in range(channels):  # all latents of a channel, since only its counts fit into the cache
        row = counts[c]
        for i in range(n):
            for k in range(cells):
                row[patterns[i, c, k]] += 1


@_compiled()
def sum_latents(
    values: NDArray[np.float32],
    shift: NDArray[np.float64],
    powers: NDArray[np.float64],
    products: NDArray[np.float64],
    places: NDArray[np.float64],
    norms: NDArray[np.float32],
    space: NDArray[np.float64],
) -> None:
    """Add sums of finite latents (n, C, cells) about a shift (C,) to the other arrays.

    Parameters
    ----------
    powers : (2, n, D), sums of x − shift and of its square over the cells of each latent
    products : (D, D), sums of products of two channels over all cells, below the diagonal and on it
    places : (C, cells), sums of x − shift over the latents
    norms : (n, cells), squared norms of the cells, not about the shift
    space : (D, TILE), zeros; D is C or, if that is odd, C + 1
    """
    n, channels, cells = values.shape
    for start in range(0, cells, TILE):
        end = min(start + TILE, cells)
        for i in range(n):
            norm = norms[i, start:end]
            for c in range(channels):
                some = values[i, c, start:end]
                for k in range(len(some)):
                    norm[k] += some[k] * some[k]
            for c in range(channels):
                some, about = values[i, c, start:end], shift[c]
                rest, place = space[c, : end - start], places[c, start:end]
                for k in range(len(some)):
                    rest[k] = np.float64(some[k]) - about
                    place[k] += rest[k]
                powers[0, i, c] += _total(rest)
            _multiply(space, end - start, products, powers[1, i])


@_in_any_order
def _total(numbers: NDArray[np.float64]) -> float:
    total = 0.0
    for k in range(len(numbers)):
        total += numbers[k]
    return total


@_in_any_order
def _multiply(
    space: NDArray[np.float64],
    cells: int,
    products: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Add products of all pairs of rows, four pairs at a time; their diagonal to squares too."""
    for a in range(0, len(space), 2):
        one, two = space[a], space[a + 1]
        for b in range(0, a + 1, 2):
            left, right = space[b], space[b + 1]
            p, q, r, s = 0.0, 0.0, 0.0, 0.0
            for k in range(cells):
                p += one[k] * left[k]
                q += one[k] * right[k]
                r += two[k] * left[k]
                s += two[k] * right[k]
            products[a, b] += p
            products[a, b + 1] += q
            products[a + 1, b] += r
            products[a + 1, b + 1] += s
        squares[a] += p  # of the last pair, which is that of the rows with themselves
        squares[a + 1] += s
