"""How often a component of ICA is called less Gaussian than chance in Gaussian samples."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from claims import POWER, SIZE, Cell, Claim, Outcome
from samples import as_latents, gaussian, generator_of

import latentlab
from latentlab.directions.base import Scene
from latentlab.directions.ica import IndependentComponents
from latentlab.latents import Neighborhood
from latentlab.loaders.base import LatentVAE

SHAPE = (3, 4, 4)
WIDTH = 48
LEADING = 4


@lru_cache(1)
def _vae() -> LatentVAE:
    return latentlab.load_vae("linear")


def _above(rows: torch.Tensor, seed: int) -> int:
    hood: Neighborhood = as_latents(rows.float().view(-1, *SHAPE))
    scene = Scene(_vae(), hood.origin, hood, seed)
    finder = IndependentComponents(leading=LEADING)
    found = finder.distance(scene, finder.search(scene, LEADING).rows)
    return int((found > finder.limit_by_chance(scene)).sum())


def _gaussian(n: int, seed: int) -> Outcome:
    scales = torch.arange(1, WIDTH + 1).float() ** -0.5
    return {"a component is above chance": _above(gaussian(n, WIDTH, seed) * scales, seed) > 0}


def _planted(n: int, seed: int) -> Outcome:
    """Mix three uniform sources, which no principal component separates, and add noise."""
    sources = torch.rand(n, 3, generator=generator_of(seed)) - 0.5
    mixing = torch.linalg.qr(gaussian(WIDTH, 3, seed + 1))[0].T
    rows = 12**0.5 * sources @ mixing + 0.02 * gaussian(n, WIDTH, seed + 2)
    return {"a component is above chance": _above(rows, seed) > 0}


CLAIM = Claim(
    name="ica",
    says="2 of 8 components are less Gaussian than any that ICA finds in 20 sets of Gaussian "
    "samples",
    assumes="independent samples",
    breaks="with few samples, sources of light tails are missed: see N=64",
    cells=(
        *(
            Cell(f"Gaussian samples, N={n}", SIZE, partial(_gaussian, n), 400, quick=n == 64)
            for n in (64, 256)
        ),
        Cell("three uniform sources, N=64", POWER, partial(_planted, 64), 100, quick=False),
        Cell("three uniform sources, N=256", POWER, partial(_planted, 256), 100, quick=False),
    ),
)
