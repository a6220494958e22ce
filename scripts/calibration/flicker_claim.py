"""How often directions are said to flicker less, or more, than random ones that do not differ."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import torch
from claims import POWER, SIZE, Cell, Claim, Outcome
from samples import generator_of
from torch import Tensor

import latentlab
from latentlab.directions.base import Scene
from latentlab.directions.finding import directions_from_rows
from latentlab.latents import Directions, Latent, LatentSpec, Neighborhood
from latentlab.linalg.bases import random_rows
from latentlab.loaders.base import LatentVAE
from latentlab.walks.chance import walk_at_random
from latentlab.walks.traversal import walk_along

SIGNIFICANT = 0.05
COUNT = 5
SIDE = 16


def _bent() -> LatentVAE:
    """Return a decoder that bends: waves of random phase and frequency in each direction."""
    spec = LatentSpec("waves", channels=4, stride=4)
    weights = torch.randn(40, 4 * (SIDE // 4) ** 2, generator=generator_of(0)) / 4
    phases = 6 * torch.rand(40, generator=generator_of(1))
    mixed = torch.randn(3 * SIDE**2, 40, generator=generator_of(2)) / 8

    def decode(latents: Tensor) -> Tensor:
        waves = torch.sin(latents.flatten(1) @ weights.T + phases)
        return torch.tanh(waves @ mixed.T).view(-1, 3, SIDE, SIDE)

    def encode(images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images, 4)[:, [0, 1, 2, 0]]

    return latentlab.wrap_vae(encode=encode, decode=decode, spec=spec)


@lru_cache(1)
def _scene(model: str) -> tuple[LatentVAE, Latent, Neighborhood]:
    vae = _bent() if model == "waves" else latentlab.load_vae(model)
    size = SIDE if model == "waves" else 64
    latent = latentlab.encode(vae, "sample:flower", size=size)
    return vae, latent, latentlab.neighborhood(vae, latent, n_samples=64)


def _compared(vae: LatentVAE, latent: Latent, found: Directions, seed: int) -> float:
    walk = walk_along(vae, latent, found, n_components=COUNT, span=2.0, steps=7)
    frames = [path.frames for path in walk.paths]
    random = walk_at_random(vae, latent, found, frames, walk.alphas, seed=seed)
    assert random is not None
    assert random.p_of_flicker is not None
    return random.p_of_flicker


def _random(model: str, seed: int) -> Outcome:
    """Walk along random directions, with steps that differ tenfold."""
    vae, latent, hood = _scene(model)
    generator = generator_of(500_000 + seed)
    rows = random_rows(COUNT, hood.n_features, generator)
    found = directions_from_rows(Scene(vae, latent, hood), rows, [f"R {k}" for k in range(COUNT)])
    length = float(latent.values.norm()) / 5
    lengths = length * 10 ** (torch.rand(COUNT, generator=generator).double() - 0.5)
    p_value = _compared(vae, latent, replace(found, deviations=lengths), seed)
    return {"random directions are said to differ": p_value <= SIGNIFICANT}


def _components(model: str, seed: int) -> Outcome:
    vae, latent, hood = _scene(model)
    found = latentlab.fit_pca(hood).leading(COUNT)
    return {"components are said to differ": _compared(vae, latent, found, seed) <= SIGNIFICANT}


CLAIM = Claim(
    name="flicker",
    says="the directions flicker less in 90 % of the pairs, p .008",
    assumes="the same change of the image, in CIELAB, between the ends of both walks",
    breaks="a single direction, for which no p-value is given",
    cells=(
        Cell("random directions, waves", SIZE, partial(_random, "waves"), runs=500),
        Cell("random directions, mini, 64 px", SIZE, partial(_random, "mini"), 100, quick=False),
        Cell("components, mini, 64 px", POWER, partial(_components, "mini"), 20, quick=False),
    ),
)
