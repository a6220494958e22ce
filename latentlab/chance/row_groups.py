"""Groups of rows that are dependent by construction, and their sums of squares and products.

Resampling draws or leaves out such rows together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from latentlab.latents import Neighborhood
from latentlab.linalg.sums import gram_matrix
from latentlab.machine.memory import check_memory
from latentlab.neighborhoods import sampler_of
from latentlab.neighborhoods.groups import RowGroups, single_rows

# The groups' scatter matrices may always take 64 MB.
_SCATTER_VALUES = 2**23


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
        self.index = groups.index
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


def _check_room(matrix: Tensor, values: int) -> None:
    check_memory(
        3 * 8 * values, f"intervals from {len(matrix):,} samples", "lower the number of samples"
    )


def _descending(symmetric: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh(symmetric).flip(0).clamp_min(0).double()
    return values
