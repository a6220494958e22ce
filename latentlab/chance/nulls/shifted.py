"""Cells of one latent with every channel shifted over the grid by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.scrambled import Block, Columns, ScrambledMatrix, ScrambledNull
from latentlab.errors import UsageError
from latentlab.latents import Neighborhood, Spectrum
from latentlab.layouts import TokenLayout


@NULLS.register("shifted")
@dataclass(frozen=True)
class Shifted(ScrambledNull):
    """Every channel shifted cyclically over the grid of cells, independently of the others.

    Neighboring cells are as alike as before, but channels are independent. Permuting columns would
    break both, so smooth channels that have nothing to do with each other would be called
    components. Opposite edges become neighbors.
    """

    label = "channels shifted"
    color = "#009E73"
    counts = 4
    phrase = "above chance (channels shifted)"
    keeps_neighbors = True
    whole_grid = True

    def scramble(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> ScrambledMatrix:
        layout = samples.layout if isinstance(samples, Neighborhood) else None
        if not isinstance(layout, TokenLayout) or np.prod(layout.grid) != spectrum.n_samples:
            raise UsageError(
                "the shifted null for these samples",
                "all cells of one latent, whose channels can be shifted over the grid",
                "use --neighborhood tokens without --samples, or leave the shifted null out",
            )
        return _ShiftedChannels(samples, spectrum, layout.grid)


class _ShiftedChannels(ScrambledMatrix):
    in_rounds = False  # cells keep their neighbors, so rows cannot be permuted once more

    def __init__(
        self, samples: Neighborhood | Tensor, spectrum: Spectrum, grid: tuple[int, int]
    ) -> None:
        super().__init__(samples, spectrum)
        self.grid = grid

    def block(self, columns: Columns, generator: np.random.Generator) -> Block:
        values = self.centered(columns)
        shifts = generator.integers(0, self.grid, (len(values), 2))
        for row, shift in zip(values, shifts, strict=True):
            row[:] = np.roll(row.reshape(self.grid), tuple(shift), (0, 1)).ravel()
        return values
