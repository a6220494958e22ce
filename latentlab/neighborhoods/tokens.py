"""Parts of the one latent: its tokens and its patches."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from latentlab.latents import Latent
from latentlab.layouts import Layout, PatchLayout, TokenLayout, Window
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.base import Draws, Sampler, shape_of


@dataclass(frozen=True)
class _Parts(Sampler):
    """The latent itself, once; the layout turns it into many rows."""

    encodes = False
    whole = False

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        yield latent.values[None], {}

    def n_latents(self, samples: int | None) -> int:
        return 1


@SAMPLERS.register("tokens")
@dataclass(frozen=True)
class Tokens(_Parts):
    """Every cell of the latent as one sample of C numbers."""

    correlated = "neighboring cells are alike"
    nulls = ("turned",)
    statement = (
        "The cells of one latent, C numbers each. It shows which mixtures of channels the image "
        "uses, well determined since C is small. Neighboring cells are alike, so the number of "
        "independent samples is far below N. A direction moves all cells at once."
    )

    def layout(self, latent: Latent, window: Window) -> Layout:
        return TokenLayout(shape_of(latent), window)


@SAMPLERS.register("patches")
@dataclass(frozen=True)
class Patches(_Parts):
    """Every k×k patch of cells as one sample.

    Parameters
    ----------
    patch : int, side k in latent cells
    """

    needs_grid = True

    patch: int = 2

    correlated = "neighboring patches overlap"
    uncounted = correlated
    nulls = ()
    statement = (
        "All k×k patches of one latent. It shows local patterns such as edges and textures in "
        "latent space. Overlapping patches are strongly correlated, and stationary statistics "
        "alone produce a log-like curve."
    )

    def layout(self, latent: Latent, window: Window) -> Layout:
        return PatchLayout(shape_of(latent), window, self.patch)
