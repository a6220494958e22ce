"""Power sums of blocks of latents, on several threads while the next blocks are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.store.shards import Shape

_CACHED_VALUES = 2**17
"""Values that are summed at a time: few enough for a cache, and for threads to rarely meet.

Of half as many, threads wait for one another when they start operations; more leave the cache.
"""


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Sums over the cells of some latents about a shift of each channel.

    Computed in a few passes over a block that fits into the cache, so that several threads can
    each have a block.

    Parameters
    ----------
    shape : (C, h, w)
    powers : Tensor, (k, n, C), float64, sums of (x − shift)ᵏ over the cells of each latent,
        k = 1 … 2 or 4; as precise as float32 where k is 2 and the latents have 16 bits
    products : Tensor, (C, C), float64, sums of products of two channels over all cells
    places : Tensor, (C, h, w), float64, sums of x − shift over the latents
    norms : Tensor, (n, h·w), float32, of each cell of such latents; None for others
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
        short = powers == 2 and latents.element_size() == 2
        sums = _Sums(latents[:together], shift, powers, torch.float32 if short else torch.float64)
        found = torch.empty(powers, n, channels, dtype=sums.plain.dtype)
        norms = torch.empty(n, height * width)
        parts = (torch.split(latents.flatten(2), together), torch.split(found, together, 1))
        for part, out, norm in zip(*parts, torch.split(norms, together), strict=True):
            sums.add(part, out, norm if short else None)
        found = found.double()
        if short:
            _mend(found, latents, shift)
        shape = channels, height, width
        places = sums.places.view(-1, channels).T.reshape(shape)
        return cls(shape, found, sums.products, places, norms.sqrt_() if short else None)

    @property
    def cells(self) -> int:
        """Return the cells of one latent."""
        return self.shape[1] * self.shape[2]

    @property
    def whole(self) -> Tensor:
        """Return which latents (n,) are finite: a single value that is not spoils their sums."""
        return self.powers.isfinite().all(2).all(0)


def _mend(found: Tensor, latents: Tensor, shift: Tensor) -> None:
    """Sum the latents again that are beyond the range of float32, though they may be finite."""
    wrong = ~found.isfinite().all(2).all(0)
    if wrong.any():
        rest = latents[wrong].flatten(2).double() - shift[:, None]
        found[:, wrong] = torch.stack([rest.sum(2), rest.square().sum(2)])


class _Sums:
    """The sums over all latents so far, and memory for some of them.

    New memory would cost more than the sums in it.

    Parameters
    ----------
    latents : Tensor, (n, C, h, w), as many as are added at a time
    shift : Tensor, (C,)
    powers : 2 or 4
    dtype : of the sums of each latent
    """

    def __init__(self, latents: Tensor, shift: Tensor, powers: int, dtype: torch.dtype) -> None:
        n, channels, cells = latents.flatten(2).shape
        self.shift, self.powers = (shift if shift.any() else None), powers
        self.plain = torch.empty(n, channels, cells, dtype=dtype)
        # Products of channels take a third of the time where these lie side by side.
        self.sides = torch.empty(n, cells, channels, dtype=torch.float64)
        self.products = torch.zeros(channels, channels, dtype=torch.float64)
        self.places = torch.zeros(1, cells * channels, dtype=torch.float64)
        self._views = self._views_of(n)

    def _views_of(self, n: int) -> tuple[Tensor, ...]:
        """Return the memory of n latents in the order of the passes over it."""
        plain, sides = self.plain[:n], self.sides[:n]
        flat, ones = sides.flatten(0, 1), torch.ones(1, n, dtype=torch.float64)
        return plain, sides, plain.transpose(1, 2), flat, flat.T, ones, sides.flatten(1)

    def add(self, values: Tensor, sums: Tensor, norms: Tensor | None) -> None:
        """Add latents (n, C, h·w); write their sums (k, n, C), and squared norms (n, h·w)."""
        whole = len(values) == len(self.plain)
        views = self._views if whole else self._views_of(len(values))
        plain, sides, turned, flat, across, ones, rows = views
        # torch converts 16 bits to 64 value by value, but quickly to 32 and from there.
        by_value = values.element_size() == 2 and plain.dtype == torch.float64
        plain.copy_(values.float() if by_value else values)
        sides.copy_(turned)
        if self.shift is not None:
            sides.sub_(self.shift)
        self.products.addmm_(across, flat)
        self.places.addmm_(ones, rows)
        self._add_powers(plain, sums, norms)

    def _add_powers(self, plain: Tensor, sums: Tensor, norms: Tensor | None) -> None:
        if self.shift is not None:
            if norms is not None:
                torch.sum(plain.square(), 1, out=norms)
            plain.sub_(self.shift.to(plain.dtype)[:, None])
        torch.sum(plain, 2, out=sums[0])
        square = plain.square_() if self.powers == 2 else plain.square()
        torch.sum(square, 2, out=sums[1])
        if norms is not None and self.shift is None:
            torch.sum(square, 1, out=norms)
        if self.powers > 2:
            torch.sum(plain.mul_(square), 2, out=sums[2])
            torch.sum(square.square_(), 2, out=sums[3])
