"""Cells of one latent with every channel turned and mirrored by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.scrambled import Block, Columns, ScrambledMatrix, ScrambledNull
from latentlab.errors import UsageError
from latentlab.latents import Neighborhood, Spectrum
from latentlab.layouts import TokenLayout


@NULLS.register("turned")
@dataclass(frozen=True)
class Turned(ScrambledNull):
    """Every channel turned by quarters and mirrored, independently of the others.

    Neighboring cells are exactly as alike as before, also across the whole grid, but channels have
    nothing to do with each other. Permuting columns would break both, so smooth channels that are
    independent would be called components; cyclic shifts make opposite edges neighbors, which
    does so, too. If the law of each channel is the same in all eight positions, this is a
    randomization test, whose rate of false alarms is exact. A grid that is not square is only
    mirrored, in four positions.
    """

    label = "channels turned"
    color = "#009E73"
    counts = 4
    phrase = "above chance (channels turned)"
    keeps_neighbors = True
    whole_grid = True

    def scramble(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> ScrambledMatrix:
        layout = samples.layout if isinstance(samples, Neighborhood) else None
        if not isinstance(layout, TokenLayout) or np.prod(layout.grid) != spectrum.n_samples:
            raise UsageError(
                "the turned null for these samples",
                "all cells of one latent, whose channels can be turned",
                "use --neighborhood tokens without --samples, or leave the turned null out",
            )
        return _TurnedChannels(samples, spectrum, layout.grid)


class _TurnedChannels(ScrambledMatrix):
    in_rounds = False  # cells keep their neighbors, so rows cannot be permuted once more

    def __init__(
        self, samples: Neighborhood | Tensor, spectrum: Spectrum, grid: tuple[int, int]
    ) -> None:
        super().__init__(samples, spectrum)
        self.grid = grid

    def block(self, columns: Columns, generator: np.random.Generator) -> Block:
        values = self.centered(columns)
        height, width = self.grid
        positions = generator.integers(0, 8 if height == width else 4, len(values))
        for row, position in zip(values, positions, strict=True):
            row[:] = _turned(row.reshape(self.grid), position).ravel()
        return values


def _turned(cells: Block, position: int) -> Block:
    """Return a copy of a grid in one of its eight positions, of which four keep its shape."""
    cells = cells[::-1] if position & 1 else cells
    cells = cells[:, ::-1] if position & 2 else cells
    return (cells.T if position & 4 else cells).copy()
