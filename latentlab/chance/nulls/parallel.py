"""Parallel analysis: the samples with every column permuted independently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.scrambled import Block, Columns, ScrambledMatrix, ScrambledNull
from latentlab.latents import Neighborhood, Spectrum


@NULLS.register("parallel")
@dataclass(frozen=True)
class Parallel(ScrambledNull):
    """Samples whose features vary as much as before, but independently.

    Every column keeps its values and therefore its variance. Only their order is random. The null
    depends on the axes: structure means correlation between the features as they are (channels and
    cells). Source: Horn 1965, Psychometrika 30, 179; as a
    permutation test, Buja and Eyuboglu 1992.
    """

    label = "columns permuted"
    color = "#CC79A7"
    counts = 3
    phrase = "above chance"

    def scramble(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> ScrambledMatrix:
        return _Permuted(samples, spectrum)


class _Permuted(ScrambledMatrix):
    def block(self, columns: Columns, generator: np.random.Generator) -> Block:
        values = self.centered(columns)
        generator.permuted(values, axis=1, out=values)
        return values
