"""Power sums of blocks of latents, on several threads while the next blocks are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from latentlab.machine.threads import fixed_threads
from latentlab.store.shards import Shape

_CACHED_VALUES = 2**16
"""Values that are summed at a time: in float64 and squared, they fit into a core's cache."""


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Sums over the cells of some latents about a shift of each channel, in float64.

    Computed in a few passes over a block that fits into the cache, so that several threads can
    each have a block.

    Parameters
    ----------
    shape : (C, h, w)
    powers : Tensor, (4, n, C), sums of (x − shift)ᵏ over the cells of each latent
    products : Tensor, (C, C), sums of products of two channels over all cells
    places : Tensor, (C, h, w), sums of x − shift over the latents
    """

    shape: Shape
    powers: Tensor
    products: Tensor
    places: Tensor

    @classmethod
    def of(cls, latents: Tensor, shift: Tensor) -> BlockSums:
        """Return the sums of latents (n, C, h, w) about a shift (C,)."""
        together = max(1, _CACHED_VALUES // max(1, latents[:1].numel()))
        first, *parts = [cls._of_part(part, shift) for part in torch.split(latents, together)]
        if not parts:
            return first
        powers = torch.cat([first.powers, *(part.powers for part in parts)], 1)
        for part in parts:
            first.products.add_(part.products)
            first.places.add_(part.places)
        return replace(first, powers=powers)

    @classmethod
    def _of_part(cls, latents: Tensor, shift: Tensor) -> BlockSums:
        _, channels, height, width = latents.shape
        rest = latents.flatten(2).to(torch.float64, copy=True).sub_(shift[:, None])
        square = rest.square()
        powers = [rest.sum(2), square.sum(2)]
        products = torch.bmm(rest, rest.transpose(1, 2)).sum(0)
        places = rest.sum(0).view(channels, height, width)
        rest *= square
        powers += [rest.sum(2), square.square_().sum(2)]
        return cls((channels, height, width), torch.stack(powers), products, places)

    @property
    def cells(self) -> int:
        """Return the cells of one latent."""
        return self.shape[1] * self.shape[2]

    @property
    def whole(self) -> Tensor:
        """Return which latents (n,) are finite: a single value that is not spoils their sums."""
        return self.powers.isfinite().all(2).all(0)


def summed(
    blocks: Iterable[Tensor], shift_for: Callable[[Tensor], Tensor]
) -> Iterator[tuple[Tensor, BlockSums]]:
    """Yield blocks (n, C, h, w) with their sums, in order; the next are read and summed meanwhile.

    Each thread has blocks of its own, which is faster than all threads in one block, and the sums
    do not depend on the number of threads.

    Parameters
    ----------
    blocks : Tensors (n, C, h, w)
    shift_for : block → Tensor (C,), the point about which its powers are summed
    """
    threads = torch.get_num_threads()
    waiting: deque[tuple[Tensor, Future[BlockSums]]] = deque()
    one_thread = partial(torch.set_num_threads, 1)
    with fixed_threads(1), ThreadPoolExecutor(threads, initializer=one_thread) as pool:
        for latents in blocks:
            waiting.append((latents, pool.submit(BlockSums.of, latents, shift_for(latents))))
            if len(waiting) > 2 * threads:
                first, sums = waiting.popleft()
                yield first, sums.result()
        for first, sums in waiting:
            yield first, sums.result()
