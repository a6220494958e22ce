"""The base of all samplers: options, a statement, and latents drawn a few at a time."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from latentlab.errors import UsageError
from latentlab.layouts import Layout, WholeLayout, Window
from latentlab.neighborhoods.amounts import Amount
from latentlab.neighborhoods.groups import RowGroups, blocks_of_cells, single_rows

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from latentlab.images.image import Image
    from latentlab.latents import Latent, Neighborhood
    from latentlab.loaders.base import LatentVAE

DEFAULT_SAMPLES = 256

Draws: TypeAlias = "Iterator[tuple[Tensor, Mapping[str, Tensor]]]"
"""Latents (b, C, h, w), model space, with the value (b,) of each factor."""


@dataclass(frozen=True)
class Sampler(ABC):
    """One way to surround a latent with others. Its fields are its options.

    Class attributes
    ----------------
    name : how users call it
    statement : one paragraph on what this neighborhood can and cannot show
    encodes : whether images are encoded, so that the encoder's precision matters
    reads_files : whether files other than the image decide what is drawn
    whole : whether a row is a whole latent or window, not a part of it
    needs_grid : whether latents must have a grid of cells, which tokens and vectors lack
    noise : a sentence on the spectrum if the samples are added noise; else empty
    correlated : why rows are dependent, such as ``"neighboring cells are alike"``; else empty
    uncounted : why no component can be said to rise above chance, such as ``"copies of one image
        contain no noise"``; else empty
    nulls : names of the null models that match the samples and are drawn by default
    amounts : factor → Amount, for the factors that are drawn
    is_rendered : whether :meth:`render` knows these factors, which cause all that varies
    """

    name: ClassVar[str] = "matrix"
    statement: ClassVar[str] = ""
    encodes: ClassVar[bool] = True
    reads_files: ClassVar[bool] = False
    whole: ClassVar[bool] = True
    needs_grid: ClassVar[bool] = False
    noise: ClassVar[str] = ""
    correlated: ClassVar[str] = ""
    uncounted: ClassVar[str] = ""
    nulls: ClassVar[tuple[str, ...]] = ("parallel",)
    amounts: ClassVar[Mapping[str, Amount]] = {}
    is_rendered: ClassVar[bool] = False

    @abstractmethod
    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        """Yield latents (b, C, h, w), model space, with their factors, each (b,).

        At most ``samples`` latents in total, never all at once.
        """

    def layout(self, latent: Latent, window: Window) -> Layout:
        """Return how latents become rows: one row for each latent unless overridden."""
        return WholeLayout(shape_of(latent), window)

    def n_latents(self, samples: int | None) -> int:
        """Return how many latents to draw for this number of samples (None: the default)."""
        return DEFAULT_SAMPLES if samples is None else samples

    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Return factor → lowest and highest value that is drawn, gains as logarithms.

        Only factors that :meth:`render` knows.
        """
        return {}

    def render(self, latent: Latent, factors: Mapping[str, Tensor]) -> Tensor:
        """Return the images (b, 3, H, W), in [−1, 1], that these values (b,) of factors give.

        Factors that are missing stay as they are in the image. A sampler that knows how makes the
        effects of directions measurable in the units of its factors.
        """
        raise NotImplementedError

    def statement_for(self, vae: LatentVAE) -> str:
        """Return the statement, which may depend on the model."""
        return self.statement

    @classmethod
    def groups(cls, hood: Neighborhood) -> RowGroups:
        """Return the groups of rows that can be taken as independent.

        Cells and patches form blocks. All other rows are independent unless this is overridden.
        """
        if hood.layout.grid is not None:
            return blocks_of_cells(hood.n_samples, *hood.layout.grid)
        return single_rows(hood.n_samples)

    @classmethod
    def options_for(cls, image: str) -> dict[str, str]:
        """Return default options that follow from the path of an image."""
        return {}


def shape_of(latent: Latent) -> tuple[int, int, int]:
    """Return a latent's (C, h, w) as plain numbers."""
    channels, height, width = latent.values.shape
    return channels, height, width


def encoded_image(latent: Latent, sampler: str) -> Image:
    """Return the image that was encoded.

    Raises
    ------
    UsageError : the latent has no image.
    """
    if latent.image is None:
        raise UsageError(
            "a latent without its image",
            f"an encoded image, which {sampler!r} changes and encodes again",
            "use latentlab.encode, or the neighborhood 'gaussian'",
        )
    if is_encoded_with_alpha(latent.image):
        warnings.warn(
            f"{sampler!r} changes {latent.name} as an opaque image over white, while its latent "
            "is that of the transparent image",
            stacklevel=3,
        )
    return latent.image


def is_encoded_with_alpha(image: Image) -> bool:
    """Return whether the opacity of an image was encoded with it."""
    return "transparency encoded" in image.preprocessing


def check_positive(name: str, value: float) -> None:
    """Raise UsageError unless an option is above zero and finite."""
    if not 0 < value < math.inf:
        raise UsageError(f"{name}={value}", "a number above 0", f"set {name} to, say, 0.1")
