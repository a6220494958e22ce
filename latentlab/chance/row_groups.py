"""Which rows of a neighborhood hang together, and their sums of squares and products.

Resampling must move rows that are alike by construction as one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.latents import Neighborhood
from latentlab.layouts import PatchLayout, TokenLayout
from latentlab.linalg.sums import gram_matrix
from latentlab.machine.memory import check_memory

_MOST_GROUPS = 512
# The groups' scatter matrices may always take 64 MB.
_SCATTER_VALUES = 2**23


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A partition of rows into groups that can be taken as independent.

    Parameters
    ----------
    index : Tensor, (N,), int64, the group of each row, 0…count − 1
    description : str, for people, such as ``"28 blocks of 6×6 cells"``
    """

    index: Tensor
    description: str

    @property
    def count(self) -> int:
        """Return the number of groups."""
        return int(self.index.max()) + 1


def group_rows(samples: Neighborhood | Tensor) -> RowGroups:
    """Return rows in blocks where they are neighbors: cells, patches, frames and crops.

    Blocks of cells and crops have N^¼ rows a side, blocks of frames N^⅓ rows: the lengths whose
    error falls fastest as N grows. Source: Nordman and Lahiri 2004, Ann. Stat. 32, 1981; for
    series Hall, Horowitz, Jing 1995. Other rows are drawn independently; more than 512 of them
    are taken in as many groups, which changes nothing but the work.

    Examples
    --------
    >>> group_rows(torch.zeros(100, 3)).description
    '100 samples'
    """
    if not isinstance(samples, Neighborhood):
        return _singles(len(samples))
    match samples.layout:
        case TokenLayout() as layout:
            return _cells(samples, layout.window.height, layout.window.width)
        case PatchLayout(window=window, patch=patch):
            return _cells(samples, window.height - patch + 1, window.width - patch + 1)
    if samples.name == "crops" and samples.factors.keys() >= {"x", "y"}:
        return _places(samples.factors["x"], samples.factors["y"])
    if "time" in samples.factors:
        return _runs(samples.n_samples, "consecutive frames")
    return _singles(samples.n_samples)


def _singles(n_rows: int) -> RowGroups:
    count = min(n_rows, _MOST_GROUPS)
    index = torch.arange(n_rows) * count // n_rows
    return RowGroups(index, f"{n_rows:,} samples")


def _cells(samples: Neighborhood, height: int, width: int) -> RowGroups:
    if samples.n_samples != height * width:  # some positions were drawn, in their order
        return _runs(samples.n_samples, "cells in reading order")
    side = max(1, round(samples.n_samples**0.25))
    down, across = max(1, round(height / side)), max(1, round(width / side))
    rows = torch.arange(height) * down // height
    columns = torch.arange(width) * across // width
    index = (rows[:, None] * across + columns).flatten()
    size = f"{height / down:.3g}×{width / across:.3g}"
    return RowGroups(index, f"{down * across} blocks of {size} cells")


def _runs(n_rows: int, of: str) -> RowGroups:
    count = max(1, n_rows // max(1, round(n_rows ** (1 / 3))))
    index = torch.arange(n_rows) * count // n_rows
    return RowGroups(index, f"{count} blocks of {n_rows / count:.3g} {of}")


def _places(x: Tensor, y: Tensor) -> RowGroups:
    """Return crops whose centers lie near one another in groups of about equal size."""
    n_rows = len(x)
    side = max(1, round(n_rows**0.25))
    rank = torch.empty(n_rows, dtype=torch.int64)
    rank[x.argsort(stable=True)] = torch.arange(n_rows)
    column = rank * side // n_rows
    index = torch.empty_like(column)
    for number in range(side):
        inside = (column == number).nonzero()[:, 0]
        order = inside[y[inside].argsort(stable=True)]
        index[order] = number * side + torch.arange(len(order)) * side // len(order)
    return RowGroups(index, f"{side**2} groups of {n_rows / side**2:.3g} crops near one another")


class GroupSums(ABC):
    """What resampling needs of the centered rows, found once.

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
    """Return the sums over groups of rows (N, D), through the smaller of two sets of matrices."""
    n_rows, n_columns = matrix.shape
    room = max(_SCATTER_VALUES, n_rows**2)
    if n_rows > n_columns and groups.count * n_columns**2 <= room:
        return ScatterSums(matrix, groups)
    return GramSums(matrix, groups)


class GramSums(GroupSums):
    """Through the Gram matrix (N, N) of all rows."""

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
        # The curve needs no more digits, and these take a third of the time.
        return _descending(gram.float())[: len(chosen) - 1]


class ScatterSums(GroupSums):
    """Through the scatter matrix (D, D) of each group."""

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
