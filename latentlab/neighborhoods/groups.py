"""Partitions of rows into groups that can be taken as independent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_GROUPS = 512


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A partition of rows into groups that can be taken as independent.

    Parameters
    ----------
    index : Tensor, (N,), int64, the group of each row, 0…count − 1
    description : str, in words, such as ``"28 blocks of 6×6 cells"``
    """

    index: Tensor
    description: str

    @property
    def count(self) -> int:
        """Return the number of groups."""
        return int(self.index.max()) + 1


def single_rows(n_rows: int) -> RowGroups:
    """Return one group for each row, or 512 groups for more than 512 rows, to save work."""
    count = min(n_rows, _MOST_GROUPS)
    index = torch.arange(n_rows) * count // n_rows
    return RowGroups(index, f"{n_rows:,} samples")


def blocks_of_cells(n_rows: int, height: int, width: int) -> RowGroups:
    """Return the cells of a grid in blocks with sides of N^¼ cells.

    The error of this side length falls fastest as N grows. Source: Nordman and Lahiri 2004, Ann.
    Stat. 32, 1981. If only some cells were drawn, they are grouped in reading order.
    """
    if n_rows != height * width:
        return consecutive_rows(n_rows, "cells in reading order")
    side = max(1, round(n_rows**0.25))
    down, across = max(1, round(height / side)), max(1, round(width / side))
    rows = torch.arange(height) * down // height
    columns = torch.arange(width) * across // width
    index = (rows[:, None] * across + columns).flatten()
    size = f"{height / down:.3g}×{width / across:.3g}"
    return RowGroups(index, f"{down * across} blocks of {size} cells")


def consecutive_rows(n_rows: int, of: str) -> RowGroups:
    """Return consecutive rows in blocks of 2 N^⅓ rows. Source: Hall, Horowitz, Jing 1995.

    Twice their order: with N^⅓, intervals of rows that halve from one to the next are too narrow.
    """
    count = max(1, n_rows // max(1, round(2 * n_rows ** (1 / 3))))
    index = torch.arange(n_rows) * count // n_rows
    return RowGroups(index, f"{count} blocks of {n_rows / count:.3g} {of}")
