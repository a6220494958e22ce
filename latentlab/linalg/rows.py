"""Rows that are read several times but never all at once, and their sums over all ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latentlab.errors import ShapeError
from latentlab.linalg.sums import check_finite
from latentlab.machine.distributed import Ranks

_BLOCK_BYTES = 2**25
_CACHED_VALUES = 2**18


@dataclass(frozen=True, eq=False)
class RowStream:
    """Rows that can be read any number of times, in chunks and always in the same order.

    Parameters
    ----------
    read : chunk length → iterator of tensors (n, D), n at most that length; if ranks share the
        rows, of this rank's part
    n_samples : int, N, of all ranks together
    n_features : int, D
    matrix : Tensor, (N, D), if all rows are in memory
    ranks : Ranks that share the rows; by default this process reads them all
    whole : if ranks share the rows, the same rows as one process would read them
    """

    read: Callable[[int], Iterable[Tensor]]
    n_samples: int
    n_features: int
    matrix: Tensor | None = None
    ranks: Ranks = field(default_factory=Ranks)
    whole: RowStream | None = None

    @property
    def chunk(self) -> int:
        """Return how many rows to read at once: 32 MB in float64."""
        return max(1, min(4096, _BLOCK_BYTES // (8 * self.n_features)))

    def chunks(self) -> Iterator[Tensor]:
        """Yield the chunks of one pass.

        Raises
        ------
        ShapeError : rows of another length.
        """
        for chunk in self.read(self.chunk):
            if chunk.ndim != 2 or chunk.shape[1] != self.n_features:
                raise ShapeError(
                    f"a chunk of shape {tuple(chunk.shape)}",
                    f"(rows, {self.n_features})",
                    "read rows of one length",
                )
            yield chunk

    def centered(self, shift: Tensor) -> Iterator[Tensor]:
        """Yield the chunks of one pass minus a shift (D,), in float64.

        All chunks share one buffer, which the next chunk overwrites: allocating a new buffer
        would take several times as long as filling it. It is filled a few rows at a time, which are
        still in the processor's cache when the shift is subtracted.
        """
        few = max(1, _CACHED_VALUES // self.n_features)
        memory = torch.empty(0, self.n_features, dtype=torch.float64)
        for chunk in self.chunks():
            if len(chunk) > len(memory):
                memory = torch.empty(len(chunk), self.n_features, dtype=torch.float64)
            block = memory[: len(chunk)]
            for filled, part in zip(torch.split(block, few), torch.split(chunk, few), strict=True):
                filled.copy_(part).sub_(shift)
            yield block


def common_shift(rows: RowStream) -> Tensor:
    """Return the mean (D,), float64, of the first chunk, or of the first chunks of all ranks.

    Sums about it lose few digits to cancellation.
    """
    total = torch.zeros(rows.n_features + 1, dtype=torch.float64)
    for chunk in rows.chunks():
        total[:-1], total[-1] = chunk.double().mean(0), 1
        break
    rows.ranks.add_up(total, "the first rows")
    check_finite(total)
    return total[:-1] / total[-1]


def mean_of_rows(rows: RowStream) -> Tensor:
    """Return the mean (D,), float64, of all rows."""
    total = torch.zeros(rows.n_features, dtype=torch.float64)
    for chunk in rows.chunks():
        total += chunk.sum(0, dtype=torch.float64)
    check_finite(total)
    return total / rows.n_samples


def moments_of_rows(rows: RowStream) -> tuple[Tensor, float]:
    """Return the mean (D,), float64, and the total variance of all rows."""
    shift = common_shift(rows)
    sums = torch.zeros(2, rows.n_features, dtype=torch.float64)
    for block in rows.centered(shift):
        sums[0] += block.sum(0)
        sums[1] += block.square_().sum(0)
    rows.ranks.add_up(sums, "the moments of all rows")
    check_finite(sums)
    difference = sums[0] / rows.n_samples
    squares = float((sums[1] - rows.n_samples * difference.square()).sum())
    return shift + difference, squares / (rows.n_samples - 1)


def take_rows(rows: RowStream, start: int, count: int, mean: Tensor) -> Tensor:
    """Return rows start … start + count − 1, minus a mean, float64."""
    parts, done = [], 0
    for chunk in rows.chunks():
        part = chunk[max(0, start - done) : max(0, start + count - done)]
        parts.append(part.double() - mean)
        done += len(chunk)
        if done >= start + count:
            break
    return torch.cat(parts)
