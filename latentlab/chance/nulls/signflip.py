"""Sign flips: the centered samples with a random sign for every entry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.scrambled import Block, Columns, ScrambledMatrix, ScrambledNull
from latentlab.latents import Neighborhood, Spectrum


@NULLS.register("signflip")
@dataclass(frozen=True)
class SignFlip(ScrambledNull):
    """Independent noise whose size differs between entries as in the samples.

    Permuting columns spreads loud samples over all rows; here a loud sample stays loud.
    Source: Hong, Sheng, Dobriban, 2012.02985.
    """

    label = "signs flipped"
    color = "#56B4E9"
    counts = 2
    phrase = "above chance (signs flipped)"

    def scramble(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> ScrambledMatrix:
        return _Flipped(samples, spectrum)


class _Flipped(ScrambledMatrix):
    def block(self, columns: Columns, generator: np.random.Generator) -> Block:
        values = self.centered(columns)
        values *= _signs(values.shape, generator)
        return values

    def again(self, gram: Block, generator: np.random.Generator) -> Block:
        signs = _signs((len(gram),), generator)
        return gram * signs * signs[:, None]


def _signs(shape: tuple[int, ...], generator: np.random.Generator) -> Block:
    signs: Block = generator.integers(0, 2, shape, np.int8).astype(np.float32)
    signs *= 2
    signs -= 1
    return signs
