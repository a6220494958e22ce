"""Moments of channels over any number of cells, in one pass, that can be merged.

Sums about the mean are merged as Chan, Golub and LeVeque (1983) do for two moments, and Pébay
(SAND2008-6212) for four, so that shards and ranks give what one pass over all would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEAD = 0.01
"""A channel is dead if its deviation is below this share of that of loud channels."""


def loud_deviation(deviations: Tensor) -> Tensor:
    """Return the upper quartile of the channels' deviations (C,): that of a loud channel.

    The median would be that of a dead channel as soon as half of them are dead.

    Examples
    --------
    >>> float(loud_deviation(torch.tensor([0.001, 0.001, 1.0, 1.0])))
    1.0
    """
    return deviations.quantile(0.75)


def alive_channels(deviations: Tensor) -> Tensor:
    """Return which channels (C,) are not dead, by their standard deviations (C,)."""
    return deviations > (DEAD * loud_deviation(deviations) if len(deviations) else 0)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums about the mean of C channels over n cells, in float64.

    Parameters
    ----------
    count : int, cells n
    mean : Tensor, (C,)
    second, third, fourth : Tensor, (C,), sums of the powers of x − mean
    products : Tensor, (C, C), sums of products of two channels; its diagonal is ``second``
    """

    count: int
    mean: Tensor
    second: Tensor
    third: Tensor
    fourth: Tensor
    products: Tensor

    @classmethod
    def of(cls, cells: Tensor) -> Moments:
        """Return the moments of finite cells (C, n).

        Examples
        --------
        >>> halves = torch.tensor([[0.0, 1, 5, 2]]), torch.tensor([[7.0, 3]])
        >>> merged = Moments.of(halves[0]).merge(Moments.of(halves[1]))
        >>> bool(torch.isclose(merged.variance, torch.cat(halves, 1).double().var(1, False)))
        True
        """
        values = cells.double()
        mean = values.mean(1)
        rest = values - mean[:, None]
        square = rest.square()
        third, fourth = (square * rest).sum(1), square.square().sum(1)
        return cls(cells.shape[1], mean, square.sum(1), third, fourth, rest @ rest.T)

    @classmethod
    def about(cls, shift: Tensor, count: int, powers: Tensor, products: Tensor) -> Moments:
        """Return the moments of cells from their sums about a shift, in float64.

        Precise if the shift is within some standard deviations of the mean.

        Parameters
        ----------
        shift : Tensor, (C,)
        count : int, cells
        powers : Tensor, (4, C), sums of (x − shift)ᵏ for k = 1 … 4
        products : Tensor, (C, C), sums of products of x − shift of two channels

        Examples
        --------
        >>> x = torch.tensor([[0.0, 1, 5, 2]]).double()
        >>> powers = torch.stack([((x - 1) ** k).sum(1) for k in (1, 2, 3, 4)])
        >>> found = Moments.about(torch.ones(1).double(), 4, powers, (x - 1) @ (x - 1).T)
        >>> bool(torch.isclose(found.skewness, Moments.of(x).skewness))
        True
        """
        mean, square, cube, fourth = powers / count
        second = count * (square - mean**2)
        third = count * (cube - 3 * mean * square + 2 * mean**3)
        quartic = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4
        rest = products - count * mean.outer(mean)
        return cls(count, shift + mean, second, third, count * quartic, rest)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the cells of both."""
        a, b = self.count, other.count
        n, delta = a + b, other.mean - self.mean
        share = a * b / n
        third = delta**3 * share * (a - b) / n
        third += 3 * delta * (a * other.second - b * self.second) / n
        fourth = delta**4 * share * (a * a - a * b + b * b) / n**2
        fourth += 6 * delta**2 * (a * a * other.second + b * b * self.second) / n**2
        fourth += 4 * delta * (a * other.third - b * self.third) / n
        return Moments(
            n,
            self.mean + delta * b / n,
            self.second + other.second + delta**2 * share,
            self.third + other.third + third,
            self.fourth + other.fourth + fourth,
            self.products + other.products + delta.outer(delta) * share,
        )

    @property
    def variance(self) -> Tensor:
        """Return the variance of each channel (C,), divisor n."""
        return self.second / self.count

    @property
    def skewness(self) -> Tensor:
        """Return the skewness of each channel (C,); NaN where it is constant."""
        return self.third / self.count / self.variance**1.5

    @property
    def kurtosis(self) -> Tensor:
        """Return the excess kurtosis of each channel (C,): 0 for a Gaussian, NaN if constant."""
        return self.fourth / self.count / self.variance**2 - 3

    @property
    def correlation(self) -> Tensor:
        """Return the correlation of channels (C, C); NaN where one is constant."""
        spread = self.second.sqrt()
        return self.products / spread.outer(spread)


class Histogram:
    """Counts of numbers by their 16-bit pattern: exact for such numbers, rounded for others.

    Its size does not depend on the numbers, and histograms are merged by adding.

    Parameters
    ----------
    rows : int
    dtype : torch.float16 or torch.bfloat16, whose patterns are the bins; other numbers are rounded
        to it, so that quantiles are within 1/2,000 in float16
    """

    _BINS = 2**16

    def __init__(self, rows: int, dtype: torch.dtype = torch.float16) -> None:
        self.dtype = dtype
        self._counts = torch.zeros(rows, self._BINS, dtype=torch.int64)
        self._waiting: list[Tensor] = []

    @property
    def counts(self) -> Tensor:
        """Return how often each pattern came (rows, 65536), in the order of unsigned integers."""
        self._count()
        return self._counts

    def add(self, values: Tensor) -> None:
        """Count finite values (rows, …); those beyond the dtype count as its largest."""
        values = self.rounded(values)
        counts = values[0].numel() + sum(one[0].numel() for one in self._waiting) >= 4 * self._BINS
        self._waiting.append(values if counts else values.clone())
        if counts:
            self._count()

    def rounded(self, values: Tensor) -> Tensor:
        """Return the numbers that values are counted as, in the histogram's dtype."""
        if values.dtype == self.dtype:
            return values
        largest = torch.finfo(self.dtype).max
        return values.float().clamp(-largest, largest).to(self.dtype)

    def merge(self, other: Histogram) -> None:
        """Add the counts of another of the same dtype."""
        self._count()
        self._counts += other.counts

    def _count(self) -> None:
        """Count what waits: less often, since each time as many bins are written."""
        if not self._waiting:
            return
        waiting = [one.view(torch.uint16) for one in self._waiting]
        self._waiting = []
        wide = torch.empty(sum(one[0].numel() for one in waiting), dtype=torch.int32)
        for row, counts in enumerate(self._counts):
            start = 0
            for one in waiting:
                end = start + one[row].numel()
                wide[start:end].view(one[row].shape).copy_(one[row])
                start = end
            found = torch.bincount(wide)
            counts[: len(found)] += found

    def quantiles(self, shares: Tensor) -> Tensor:
        """Return the quantiles (rows, len(shares)), float64, of all that was counted.

        Each is the first value that at least this share of the others does not exceed.
        """
        values = self._values()
        order = values.argsort(stable=True)
        total = self.counts[:, order].cumsum(1)
        wanted = (shares * (total[:, -1:] - 1)).ceil().long() + 1
        return values[order][torch.searchsorted(total, wanted).clamp_max(len(order) - 1)]

    def count_above(self, limit: float) -> int:
        """Return how many values of the first row exceed a limit."""
        return int(self.counts[0][self._values() > limit].sum())

    def central_sum(self, mean: Tensor, power: int) -> Tensor:
        """Return the sum (rows,) of (x − mean)ᵏ over all that was counted, for means (rows,).

        Examples
        --------
        >>> found = Histogram(1)
        >>> found.add(torch.tensor([[0.0, 1, 5, 2]]))
        >>> found.central_sum(torch.tensor([2.0]), 3).tolist()
        [18.0]
        """
        used = self.counts.any(0)
        rest = self._values()[used] - mean.double()[:, None]
        return (rest**power * self.counts[:, used]).sum(1)

    def _values(self) -> Tensor:
        """Return the number that each bin stands for, float64; infinity for what is no number."""
        bits = torch.arange(2**16).int().to(torch.uint16).view(self.dtype).double()
        return bits.nan_to_num(nan=float("inf"))
