"""Groups of rows that are dependent by construction, and their sums of squares and products.

Resampling draws or leaves out such rows together.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from latentlab.latents import Neighborhood, Spectrum
from latentlab.linalg.sums import column_moments, gram_matrix, rows_in_block
from latentlab.machine.memory import check_memory
from latentlab.metrics.spectrum import participation_ratio
from latentlab.neighborhoods import sampler_of
from latentlab.neighborhoods.groups import RowGroups, consecutive_rows, single_rows

# The groups' scatter matrices may always take 64 MB.
_SCATTER_VALUES = 2**23
_ROUNDING = 1e-10


def group_rows(samples: Neighborhood | Tensor) -> RowGroups:
    """Return the groups of rows that can be taken as independent, as the sampler defines them.

    Examples
    --------
    >>> group_rows(torch.zeros(100, 3)).description
    '100 samples'
    """
    if not isinstance(samples, Neighborhood):
        return single_rows(len(samples))
    return sampler_of(samples).groups(samples)


def independent_groups(samples: Neighborhood | Tensor, spectrum: Spectrum) -> RowGroups:
    """Return the sampler's groups; blocks of consecutive rows if single rows resemble the next.

    The correlation of rows with their next is −1/N for independent rows, with a variance of
    1/(N·PR). More than a tenth and five standard deviations is a sequence.
    """
    groups = group_rows(samples)
    matrix = samples.samples if isinstance(samples, Neighborhood) else samples
    if groups.count != len(matrix) or not spectrum.is_complete:
        return groups
    ratio = participation_ratio(spectrum.explained_variance)
    limit = max(0.1, 5 / math.sqrt(len(matrix) * ratio))
    if correlation_with_next(matrix) <= limit:
        return groups
    return consecutive_rows(len(matrix), "consecutive rows, of which each resembles the next")


def correlation_with_next(matrix: Tensor) -> float:
    """Return the mean correlation of a row (N, D) with the next, over all features together.

    Examples
    --------
    >>> round(correlation_with_next(torch.tensor([[0.0], [1.0], [2.0], [3.0]])), 2)
    0.25
    """
    mean = column_moments(matrix)[0]
    last, products, squares = None, 0.0, 0.0
    for rows in torch.split(matrix, rows_in_block(matrix.shape[1])):
        values = rows.cpu().double() - mean
        products += float((values[1:] * values[:-1]).sum())
        products += 0.0 if last is None else float(last @ values[0])
        squares += float(values.square().sum())
        last = values[-1]
    return products / squares if squares else 0.0


class GroupSums(ABC):
    """What resampling needs to know of the centered rows, computed once.

    Parameters
    ----------
    traces : Tensor, (U,), the squared length of each group's rows
    products : Tensor, (U, U), the inner products of the groups' scatter matrices
    """

    traces: Tensor
    products: Tensor

    @abstractmethod
    def eigenvalues_of(self, groups: Tensor) -> Tensor:
        """Return the eigenvalues, descending, of the centered rows of some groups (U,), bool."""

    @abstractmethod
    def along_components(self) -> Tensor:
        """Return each group's squared length (U, n) along every component of all rows."""

    @abstractmethod
    def held_out_shares(self, kept: Tensor) -> Tensor:
        """Return the share of the other groups' variance along each component of some groups."""


def sum_up_rows(matrix: Tensor, groups: RowGroups) -> GroupSums:
    """Return the sums over groups of rows (N, D), by whichever matrices are smaller."""
    n_rows, n_columns = matrix.shape
    room = max(_SCATTER_VALUES, n_rows**2)
    if n_rows > n_columns and groups.count * n_columns**2 <= room:
        return ScatterSums(matrix, groups)
    return GramSums(matrix, groups)


class GramSums(GroupSums):
    """Sums by the Gram matrix (N, N) of all rows."""

    def __init__(self, matrix: Tensor, groups: RowGroups) -> None:
        _check_room(matrix, len(matrix) ** 2)
        self.gram = gram_matrix(matrix)[1]
        self.index, self.rank = groups.index, min(len(matrix) - 1, matrix.shape[1])
        count = groups.count
        rows = self.gram.new_zeros(count, len(matrix))
        rows.index_add_(0, self.index, self.gram.square())
        self.products = rows.new_zeros(count, count).index_add_(1, self.index, rows)
        self.traces = rows.new_zeros(count).index_add_(0, self.index, self.gram.diagonal())

    def eigenvalues_of(self, groups: Tensor) -> Tensor:
        chosen = groups[self.index].nonzero()[:, 0]
        gram = self.gram[chosen][:, chosen]
        mean = gram.mean(0)
        gram = gram - mean - mean[:, None] + mean.mean()
        # float32 is enough for the curve and takes a third of the time.
        return _descending(gram.float())[: len(chosen) - 1]

    def along_components(self) -> Tensor:
        values, vectors = torch.linalg.eigh(self.gram)
        squares: Tensor = (vectors.square() * values.clamp_min(0)).flip(1)[:, : self.rank]
        return squares.new_zeros(len(self.traces), self.rank).index_add_(0, self.index, squares)

    def held_out_shares(self, kept: Tensor) -> Tensor:
        chosen, others = ((mask[self.index]).nonzero()[:, 0] for mask in (kept, ~kept))
        gram, cross = self.gram[chosen][:, chosen], self.gram[others][:, chosen]
        mean = gram.mean(0)
        square = self.gram.diagonal()[others] - 2 * cross.mean(1) + mean.mean()
        cross = cross - mean - cross.mean(1, keepdim=True) + mean.mean()
        values, vectors = torch.linalg.eigh(gram - mean - mean[:, None] + mean.mean())
        values, vectors = values.flip(0)[:-1], vectors.flip(1)[:, :-1]
        along: Tensor = (cross @ vectors).square().sum(0)
        along = along / values.clamp_min(values[0] * _ROUNDING)
        shares: Tensor = along * (values > values[0] * _ROUNDING) / square.sum()
        return shares


class ScatterSums(GroupSums):
    """Sums by the scatter matrix (D, D) of each group."""

    def __init__(self, matrix: Tensor, groups: RowGroups) -> None:
        _check_room(matrix, groups.count * matrix.shape[1] ** 2)
        self.sizes = torch.bincount(groups.index).double()
        center = matrix.mean(0, dtype=torch.float64)
        self.sums = torch.zeros(groups.count, matrix.shape[1], dtype=torch.float64)
        scatters = []
        order = groups.index.argsort(stable=True)
        for number, rows in enumerate(torch.split(order, self.sizes.long().tolist())):
            values = matrix[rows].double() - center
            self.sums[number] = values.sum(0)
            scatters.append(values.T @ values)
        self.scatters = torch.stack(scatters)
        flat = self.scatters.flatten(1)
        self.products = flat @ flat.T
        self.traces = self.scatters.diagonal(dim1=1, dim2=2).sum(1)

    def eigenvalues_of(self, groups: Tensor) -> Tensor:
        total = self.sums[groups].sum(0)
        scatter = self.scatters[groups].sum(0)
        scatter = scatter - torch.outer(total, total) / self.sizes[groups].sum()
        return _descending(scatter)

    def along_components(self) -> Tensor:
        vectors: Tensor = torch.linalg.eigh(self.scatters.sum(0))[1].flip(1)
        return ((self.scatters @ vectors) * vectors).sum(1)

    def held_out_shares(self, kept: Tensor) -> Tensor:
        count, others = self.sizes[kept].sum(), self.sizes[~kept].sum()
        mean = self.sums[kept].sum(0) / count
        scatter = self.scatters[kept].sum(0) - count * torch.outer(mean, mean)
        vectors: Tensor = torch.linalg.eigh(scatter)[1].flip(1)
        total = self.sums[~kept].sum(0)
        rest = self.scatters[~kept].sum(0) - torch.outer(total, mean) - torch.outer(mean, total)
        rest = rest + others * torch.outer(mean, mean)
        return (vectors * (rest @ vectors)).sum(0) / rest.trace()


def _check_room(matrix: Tensor, values: int) -> None:
    check_memory(
        3 * 8 * values, f"intervals from {len(matrix):,} samples", "lower the number of samples"
    )


def _descending(symmetric: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh(symmetric).flip(0).clamp_min(0).double()
    return values
