"""How near the measured effect of a direction is to the true change of the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import torch
from claims import COVERAGE, RATIO, Cell, Claim, Outcome
from samples import generator_of

import latentlab
from latentlab.directions.base import Scene
from latentlab.directions.effects import decode_steps, factor_effects
from latentlab.directions.finding import directions_from_rows
from latentlab.latents import Latent, Neighborhood
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods.augment import Augment

TAEF2 = Path(__file__).resolve().parents[3] / "shared" / "models" / "taef2"
NEAR = 0.2
FACTORS = ("shift_x", "rotation", "zoom", "brightness", "hue", "blur")


@lru_cache(1)
def _scene(model: str, image: str, size: int) -> tuple[LatentVAE, Latent, Neighborhood]:
    vae = latentlab.load_vae(TAEF2 if model == "taef2" else model)
    latent = latentlab.encode(vae, f"sample:{image}", size=size)
    return vae, latent, latentlab.neighborhood(vae, latent, "augment", n_samples=4)


def _rendered(model: str, image: str, size: int, seed: int) -> Outcome:
    """Render a change of each factor, up to its range, and read it off a step of that length."""
    vae, latent, hood = _scene(model, image, size)
    ranges, shares = Augment().ranges(), torch.rand(len(FACTORS), generator=generator_of(seed))
    changes, rows = {}, []
    for name, share in zip(FACTORS, shares.tolist(), strict=True):
        low, high = ranges[name]
        changes[name] = max(0.05, share) * (high - low) / 2
        values = (low + high) / 2 + changes[name] * torch.tensor([-1.0, 1.0])
        values = values.exp() if Augment.amounts[name].gain else values
        first, last = vae.encode(Augment().render(latent, {name: values})).mean
        rows.append(((last - first) / 2).flatten())
    lengths = torch.stack(rows).norm(dim=1)
    units = torch.stack(rows) / lengths[:, None]
    found = directions_from_rows(Scene(vae, latent, hood), units, FACTORS)
    images = decode_steps(vae, latent, replace(found, deviations=lengths.double()))
    effects = factor_effects(vae, latent, images, hood, FACTORS).diagonal().tolist()
    return {
        name: effect / (Augment.amounts[name].scale * changes[name])
        for name, effect in zip(FACTORS, effects, strict=True)
    }


def _near(model: str, image: str, size: int, seed: int) -> Outcome:
    found = _rendered(model, image, size, seed)
    return {f"{name} within 20 %": abs(ratio - 1) <= NEAR for name, ratio in found.items()}


def _cells() -> Iterator[Cell]:
    for model, image in product(("linear", "mini"), ("flower", "china")):
        where, quick = (model, image, 64), (model, image) == ("linear", "flower")
        yield Cell(_name(*where), RATIO, partial(_rendered, *where), runs=40, quick=quick)
    places = (("mini", 128, 30), ("mini", 256, 10), ("taef2", 128, 10), ("taef2", 256, 5))
    for (model, size, runs), image in product(places, ("flower", "china")):
        needs = TAEF2 if model == "taef2" else None
        near = partial(_near, model, image, size)
        name = _name(model, image, size)
        yield Cell(name, COVERAGE, near, runs, (0.95, 1), quick=False, needs=needs)


def _name(model: str, image: str, size: int) -> str:
    return f"{model}, {image}, {size} px"


CLAIM = Claim(
    name="effect",
    says="±0.26°: what one step changes in the decoded image",
    assumes="the change is one of the known factors, or a sum of them, within the range that was "
    "drawn",
    breaks="beyond twice the range, where an image no longer says how far it was moved; a blur of "
    "which the model keeps little",
    cells=tuple(_cells()),
)
