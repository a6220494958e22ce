"""Blocks of latents summed and counted on several threads while the next ones are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from latentlab.machine.threads import fixed_threads
from latentlab.metrics.moments import Histogram
from latentlab.store.block_sums import BlockSums

_CACHED_LATENTS = 2**17
"""Values whose norms are computed at a time, so that they stay in a core's cache."""
_LOOPED_CELLS = 64
"""Compiled loops sum latents of at least this many cells."""


@dataclass(eq=False)
class Tally:
    """How often each value of each channel came, and each norm of a cell.

    Parameters
    ----------
    values : Histogram of C rows
    norms : Histogram of one row
    compiled : bool, whether compiled loops count
    """

    values: Histogram
    norms: Histogram
    compiled: bool = False

    @classmethod
    def empty(cls, channels: int, dtype: torch.dtype, *, compiled: bool = False) -> Tally:
        """Return a tally of nothing, with the patterns of a 16-bit dtype as bins."""
        return cls(Histogram(channels, dtype), Histogram(1), compiled)

    def add(self, latents: Tensor, norms: Tensor | None = None) -> None:
        """Count finite latents (n, C, h, w), and the norms (n, h·w) of their cells, if known."""
        if not len(latents):
            return
        norms = _norms(latents) if norms is None else norms
        if self.compiled:
            from latentlab.store.compiled import count_into

            count_into(self.values, latents.flatten(2))
            count_into(self.norms, norms[:, None])
        else:
            self.values.add(latents.movedim(1, 0))
            self.norms.add(norms.flatten()[None])

    def merge(self, other: Tally) -> None:
        """Add the counts of another."""
        self.values.merge(other.values)
        self.norms.merge(other.norms)


def _norms(latents: Tensor) -> Tensor:
    """Return the norm of each cell (n, h·w) of latents (n, C, h, w), float32."""
    values = latents.flatten(2)
    norms = torch.empty(len(values), values.shape[2])
    together = max(1, _CACHED_LATENTS // latents[:1].numel())
    space = torch.empty(together, *values.shape[1:])
    for part, out in zip(torch.split(values, together), torch.split(norms, together), strict=True):
        torch.sum(space[: len(part)].copy_(part).square_(), 1, out=out)
    return norms.sqrt_()


class Tallies:
    """A tally for each of several threads. Counts do not depend on which thread took a block."""

    def __init__(self, channels: int, dtype: torch.dtype, *, compiled: bool = False) -> None:
        self.compiled = compiled
        self._empty = partial(Tally.empty, channels, dtype, compiled=compiled)
        self._free: deque[Tally] = deque()

    def add(self, latents: Tensor, norms: Tensor | None = None) -> None:
        """Count finite latents (n, C, h, w), in a tally that no other thread uses now."""
        try:
            tally = self._free.pop()
        except IndexError:
            tally = self._empty()
        tally.add(latents, norms)
        self._free.append(tally)

    def merged(self) -> Tally:
        """Return the counts of all threads, once none of them is counting."""
        while len(self._free) > 1:
            self._free[-2].merge(self._free.pop())
        if not self._free:
            self._free.append(self._empty())
        return self._free[0]

    def merge(self, other: Tallies) -> None:
        """Add the counts of another."""
        self.merged().merge(other.merged())


@dataclass(frozen=True, eq=False)
class Summary:
    """What is kept of a block of latents.

    Parameters
    ----------
    latents, values : int, how many there are
    non_finite : int, values that are NaN or infinite
    whole : Tensor, (n,), which latents are finite
    sums : BlockSums of the finite ones about their shift, or None if there is none
    """

    latents: int
    values: int
    non_finite: int
    whole: Tensor
    sums: BlockSums | None

    @classmethod
    def of(
        cls, latents: Tensor, shift: Tensor, counted: Tensor, tallies: Tallies, *, powers: int
    ) -> Summary:
        """Return the summary of latents (n, C, h, w), and count some of them.

        Parameters
        ----------
        shift : Tensor, (C,), the point about which powers are summed
        counted : Tensor, (n,), which latents are counted in ``tallies``, if they are finite
        powers : 2 or 4, how many powers are summed
        """
        sums_of = _sums_of(latents, shift, powers, tallies.compiled)
        sums: BlockSums | None = sums_of(latents)
        assert sums is not None
        whole, bad = sums.whole, 0
        if not whole.all():
            bad = int((~latents.isfinite()).sum())
            kept = latents[whole]
            sums = sums_of(kept) if len(kept) else None
        norms, chosen = sums.norms if sums else None, counted & whole
        if chosen.all():
            tallies.add(latents, norms)
        else:
            tallies.add(latents[chosen], None if norms is None else norms[counted[whole]])
        return cls(len(latents), latents.numel(), bad, whole, sums)


def _sums_of(
    latents: Tensor, shift: Tensor, powers: int, compiled: bool
) -> Callable[[Tensor], BlockSums]:
    """Return what sums latents of one shape; few cells are quicker as one product of matrices."""
    if compiled and latents.shape[2] * latents.shape[3] >= _LOOPED_CELLS:
        from latentlab.store.compiled import fused_sums

        return partial(fused_sums, shift=shift)
    return partial(BlockSums.of, shift=shift, powers=powers)


def summarized(
    blocks: Iterable[Tensor], job: Callable[[Tensor], Callable[[], Summary]]
) -> Iterator[Summary]:
    """Yield the summary of each block (n, C, h, w), in order; the next are read meanwhile.

    Each thread has blocks of its own, which is faster than all threads in one block, and the sums
    do not depend on the number of threads.

    Parameters
    ----------
    blocks : Tensors (n, C, h, w)
    job : block → what makes its summary; it is asked for in order, and called on any thread
    """
    threads = torch.get_num_threads()
    waiting: deque[Future[Summary]] = deque()
    initializer: Any = partial(torch.set_num_threads, 1)
    with fixed_threads(1), ThreadPoolExecutor(threads, initializer=initializer) as pool:
        for latents in blocks:
            waiting.append(pool.submit(job(latents)))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
