"""Spectra of scrambled samples: many draws at the cost of a few, in memory for a few N×N matrices.

Scrambling a block of columns twice is the same as scrambling it once: if every column was permuted
independently, permuting the rows of the whole block leaves each column with a uniformly random
permutation that is independent of all others. The second scramble needs only the block's Gram
matrix, N×N numbers instead of N×width. So a *round* scrambles the columns once, block by block,
and recombines the blocks' Gram matrices into twenty draws. Each draw by itself has exactly the
distribution of a fresh one. Draws of a round share the insides of their blocks, which matters
little if no block dominates: the 4 N columns of largest variance are scrambled again for every
draw. The largest eigenvalues of a round are then nearly independent (tests/test_nulls_drawn.py
measures it).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.chance.nulls.base import BAND, Null, NullModel, limit_of_quantile, matrix_of
from latentlab.latents import Neighborhood, Progress, Spectrum
from latentlab.linalg.sums import column_moments
from latentlab.machine.memory import check_memory
from latentlab.machine.threads import threads_for

ROUND = 20
BLOCKS = 32
# With fewer columns per sample than this, scrambling costs less than recombining.
_COLUMNS_FOR_ROUNDS = 12
_FRESH_FOR_A_ROW = 4
_BLOCK_VALUES = 2**22  # 16 MB in float32

# Seconds on two cores, measured: to scramble a number, to multiply and add two, to find eigenvalues
# (for each n³), and to scramble an entry of a Gram matrix once more.
_SCRAMBLE, _MULTIPLY, _SOLVE, _AGAIN = 1.3e-8, 1.1e-11, 1e-10, 5e-9

Block = NDArray[np.float32]
Columns = NDArray[np.intp]


class Scramble(ABC):
    """A way to draw columns without the structure in question.

    Parameters
    ----------
    n_rows : int
    variances : Tensor, (n_columns,), of the columns
    """

    def __init__(self, n_rows: int, variances: Tensor) -> None:
        self.n_rows = n_rows
        self.variances = variances

    @property
    def n_columns(self) -> int:
        """Return the number of columns."""
        return len(self.variances)

    @property
    def in_rounds(self) -> bool:
        """Return whether there are enough columns for recombining blocks to pay off."""
        return pays_in_rounds(self.n_rows, self.n_columns)

    def blocks(self) -> tuple[Columns, list[Columns]]:
        """Return the columns to scramble for every draw, and the other columns in blocks."""
        width = max(1, _BLOCK_VALUES // self.n_rows)
        if not self.in_rounds:
            columns = np.arange(self.n_columns)
            return columns[:0], np.split(columns, range(width, len(columns), width))
        by_variance = self.variances.argsort(descending=True, stable=True).numpy()
        heavy, others = np.split(by_variance, [_FRESH_FOR_A_ROW * self.n_rows])
        count = max(BLOCKS, -(-len(others) // width))
        return heavy, np.array_split(np.sort(others), count)

    @abstractmethod
    def block(self, columns: Columns, generator: np.random.Generator) -> Block:
        """Return scrambled columns as the rows of a new array (width, n_rows)."""

    def again(self, gram: Block, generator: np.random.Generator) -> Block:
        """Return the Gram matrix (n_rows, n_rows) of a block whose rows are scrambled once more.

        The same for all columns: a permutation, unless this is overridden.
        """
        order = generator.permutation(len(gram))
        return gram[order][:, order]


@dataclass(frozen=True)
class ScrambledNull(NullModel):
    """A null that is drawn by scrambling samples."""

    default_draws: ClassVar[int] = 100

    @abstractmethod
    def scramble(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> Scramble:
        """Return the way to scramble these samples."""

    def draw(
        self,
        samples: Neighborhood | Tensor,
        spectrum: Spectrum,
        *,
        draws: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Null:
        draws = self.default_draws if draws is None else draws
        scramble = self.scramble(samples, spectrum)
        found = []
        with threads_for(min(spectrum.n_samples, spectrum.n_features)):
            for values in scrambled_eigenvalues(scramble, draws, seed):
                known = values[: min(spectrum.n_samples - 1, spectrum.n_features)].double()
                found.append(known * (spectrum.total_variance / known.sum()))
                if progress:
                    progress(f"{self.name} null", len(found), draws)
        spectra = torch.stack(found)
        return Null(
            model=self,
            spectra=spectra,
            total_variance=spectrum.total_variance,
            largest_quantile=float(spectra[:, 0].quantile(BAND[1])),
            threshold=limit_of_quantile(spectra[:, 0]),
            draws=draws,
        )

    def seconds(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> float:
        scramble = self.scramble(samples, spectrum)
        sizes = scramble.n_rows, scramble.n_columns
        return estimate_seconds(*sizes, self.default_draws, in_rounds=scramble.in_rounds)


class ScrambledMatrix(Scramble):
    """A way to scramble the columns of samples (N, D) with this spectrum.

    Raises
    ------
    ShapeError, NonFiniteError, MemoryLimitError : no null can be drawn for these samples.
    """

    def __init__(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> None:
        self.matrix = matrix_of(samples, spectrum)
        check_memory(
            4 * (ROUND + 4) * min(self.matrix.shape) ** 2,
            f"the null of {len(self.matrix):,} samples",
            "lower the number of samples, or leave the null out",
        )
        mean, variances = column_moments(self.matrix)
        super().__init__(len(self.matrix), variances)
        self.mean = mean.float()

    def centered(self, columns: Columns) -> Block:
        """Return centered columns as the rows of a new array (width, n_rows)."""
        index = torch.from_numpy(columns)
        block: Block = (self.matrix[:, index].float() - self.mean[index]).T.contiguous().numpy()
        return block


def scrambled_eigenvalues(scramble: Scramble, draws: int, seed: int) -> Iterator[Tensor]:
    """Yield the eigenvalues, descending, of the centered scatter matrix of each draw."""
    wide = scramble.n_rows <= scramble.n_columns
    scatters = _grams(scramble, draws, seed) if wide else _covariances(scramble, draws, seed)
    for scatter in scatters:
        yield torch.linalg.eigvalsh(scatter).flip(0).clamp_min(0)


def _grams(scramble: Scramble, draws: int, seed: int) -> Iterator[Tensor]:
    """Yield the Gram matrix (N, N) of the centered rows of each draw."""
    heavy, blocks = scramble.blocks()
    in_round = ROUND if scramble.in_rounds else 1
    for first in range(0, draws, in_round):
        shape = (min(in_round, draws - first), scramble.n_rows, scramble.n_rows)
        grams = np.zeros(shape, np.float32)
        for index, columns in enumerate(blocks):
            generator = np.random.default_rng([seed, first, index])
            gram = _products(scramble.block(columns, generator))
            for total in grams:
                total += scramble.again(gram, generator) if scramble.in_rounds else gram
        for index, total in enumerate(grams):
            if len(heavy):
                generator = np.random.default_rng([seed, first + index])
                total += _products(scramble.block(heavy, generator))
            yield _center(torch.from_numpy(total))


def _covariances(scramble: Scramble, draws: int, seed: int) -> Iterator[Tensor]:
    """Yield the lower triangle of the scatter matrix (D, D) of each draw, D < N.

    Every pair of blocks is multiplied. A block is drawn again from its seed instead of kept.
    """
    blocks = [(index, columns) for index, columns in enumerate(scramble.blocks()[1])]

    def scrambled(draw: int, index: int, columns: Columns) -> Tensor:
        generator = np.random.default_rng([seed, draw, index])
        values = torch.from_numpy(scramble.block(columns, generator))
        return values.sub_(values.mean(1, keepdim=True))

    for draw in range(draws):
        scatter = torch.zeros(scramble.n_columns, scramble.n_columns)
        for index, columns in blocks:
            one = scrambled(draw, index, columns)
            place = slice(columns[0], columns[-1] + 1)
            scatter[place, place] = one @ one.T
            for earlier, others in blocks[:index]:
                other = scrambled(draw, earlier, others)
                scatter[place, others[0] : others[-1] + 1] = one @ other.T
        yield scatter


def _products(block: Block) -> Block:
    values = torch.from_numpy(block)
    products: Block = (values.T @ values).numpy()
    return products


def _center(gram: Tensor) -> Tensor:
    """Return the Gram matrix of centered rows, in place."""
    mean = gram.mean(0)
    return gram.sub_(mean).sub_(mean[:, None]).add_(mean.mean())


def pays_in_rounds(n_rows: int, n_columns: int) -> bool:
    """Return whether there are enough columns for recombining blocks to pay off."""
    return n_columns >= _COLUMNS_FOR_ROUNDS * n_rows


def estimate_seconds(n_rows: int, n_columns: int, draws: int, *, in_rounds: bool) -> float:
    """Return about how many seconds this many draws take on two cores: a rule of sizes.

    It is not measured, because which nulls are drawn must not depend on how busy a machine is.

    Examples
    --------
    >>> round(estimate_seconds(256, 32_768, 100, in_rounds=True), 1)
    2.3
    """
    entries, side = n_rows * n_columns, min(n_rows, n_columns)
    solve = _SOLVE * side**3
    if n_rows > n_columns:  # blocks are scrambled again for every pair of them
        blocks = math.ceil(entries / _BLOCK_VALUES)
        return draws * (entries * (_SCRAMBLE * (blocks + 1) / 2 + _MULTIPLY * side) + solve)
    fresh = entries * (_SCRAMBLE + _MULTIPLY * side)
    if not in_rounds:
        return draws * (fresh + solve)
    again = BLOCKS * _AGAIN * n_rows**2
    anew = _FRESH_FOR_A_ROW * n_rows**2 * (_SCRAMBLE + _MULTIPLY * n_rows)
    return math.ceil(draws / ROUND) * fresh + draws * (again + anew + solve)
