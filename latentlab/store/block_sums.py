"""Power sums of blocks of latents, on several threads while the next blocks are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    powers : Tensor, (k, n, C), sums of (x − shift)ᵏ over the cells of each latent, k = 1 … 2 or 4
    products : Tensor, (C, C), sums of products of two channels over all cells
    places : Tensor, (C, h, w), sums of x − shift over the latents
    norms : Tensor, (n, h·w), float32, of each cell of 16-bit latents; None for others
    """

    shape: Shape
    powers: Tensor
    products: Tensor
    places: Tensor
    norms: Tensor | None = None

    @classmethod
    @torch.inference_mode()  # a tenth of the time is that of starting operations
    def of(cls, latents: Tensor, shift: Tensor, *, powers: int = 4) -> BlockSums:
        """Return the sums of latents (n, C, h, w), n > 0, about a shift (C,).

        Parameters
        ----------
        powers : 4, or 2 where a histogram knows the others
        """
        n, channels, height, width = latents.shape
        together = max(1, _CACHED_VALUES // max(1, latents[:1].numel()))
        space = _Workspace.like(latents[:together])
        found = torch.empty(powers, n, channels, dtype=torch.float64)
        products = torch.zeros(channels, channels, dtype=torch.float64)
        places = torch.zeros(1, channels * height * width, dtype=torch.float64)
        norms = torch.empty(n, height * width)
        ones = torch.ones(1, together, dtype=torch.float64)
        shift = shift if shift.any() else torch.zeros(0)
        parts = (torch.split(latents.flatten(2), together), torch.split(found, together, 1))
        for part, sums, norm in zip(*parts, torch.split(norms, together), strict=True):
            rest = space.shifted(part, shift, norm)
            pairs = torch.bmm(rest, rest.transpose(1, 2))
            products.add_(pairs.sum(0))
            torch.sum(rest, 2, out=sums[0])
            sums[1] = pairs.diagonal(dim1=1, dim2=2)
            places.addmm_(ones[:, : len(rest)], rest.flatten(1))
            if powers > 2:
                square = rest.square()
                torch.sum(rest.mul_(square), 2, out=sums[2])
                torch.sum(square.square_(), 2, out=sums[3])
        shape = channels, height, width
        known = None if space.single is None else norms.sqrt_()
        return cls(shape, found, products, places.view(shape), known)

    @property
    def cells(self) -> int:
        """Return the cells of one latent."""
        return self.shape[1] * self.shape[2]

    @property
    def whole(self) -> Tensor:
        """Return which latents (n,) are finite: a single value that is not spoils their sums."""
        return self.powers.isfinite().all(2).all(0)


@dataclass(frozen=True, eq=False)
class _Workspace:
    """Memory for one part in float32 and in float64: new memory costs more than the sums in it."""

    single: Tensor | None
    double: Tensor

    @classmethod
    def like(cls, latents: Tensor) -> _Workspace:
        values = latents.flatten(2)
        # torch converts 16 bits to 64 value by value, but quickly to 32 and from there.
        single = torch.empty(values.shape) if values.element_size() == 2 else None
        return cls(single, torch.empty(values.shape, dtype=torch.float64))

    def shifted(self, values: Tensor, shift: Tensor, norms: Tensor) -> Tensor:
        """Return values − shift (n, C, h·w), float64, until it is called again.

        An empty shift stands for zero. The squared norms of the cells (n, h·w) are written beside
        where the values have 16 bits: they are in the cache now.
        """
        n = len(values)
        double = self.double[:n]
        if self.single is None:
            double.copy_(values)
        else:
            single = self.single[:n].copy_(values)
            double.copy_(single)
            torch.sum(single.square_(), 1, out=norms)
        return double.sub_(shift[:, None]) if len(shift) else double
