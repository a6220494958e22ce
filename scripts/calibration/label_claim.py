"""How often a label is given where factors and directions are unrelated, and where they are not."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import torch
from claims import OUTSIDE, POWER, SIZE, Cell, Claim, Outcome
from samples import generator_of

import latentlab
from latentlab.directions.correlations import factor_correlations
from latentlab.latents import Directions, Neighborhood
from latentlab.neighborhoods.sampling import resample


@lru_cache
def _scene(finder: str) -> tuple[Directions, Neighborhood]:
    """Return eight directions around an image, and 64 samples that they have not seen."""
    vae = latentlab.load_vae("linear")
    latent = latentlab.encode(vae, "sample:flower", size=64)
    hood = latentlab.neighborhood(vae, latent, "augment", n_samples=128)
    fresh = resample(vae, hood)
    assert fresh is not None
    return latentlab.find_directions(vae, latent, hood, 8, finder=finder), fresh


def _named(found: Directions, fresh: Neighborhood, seed: int) -> list[bool]:
    """Return whether each direction has a factor above chance, at the level of two sources."""
    read = factor_correlations(found, fresh, seed=seed, level=0.975)
    return [any(map(read.is_above_chance, read.ranked(k))) for k in range(len(found.labels))]


def _shuffled(finder: str, seed: int) -> Outcome:
    found, fresh = _scene(finder)
    order = torch.randperm(fresh.n_samples, generator=generator_of(seed))
    mixed = {name: values[order] for name, values in fresh.factors.items()}
    shuffled = replace(fresh, sampling=replace(fresh.sampling, factors=mixed))
    return {"at least one of 8 is named": any(_named(found, shuffled, seed))}


def _planted(seed: int) -> Outcome:
    found, fresh = _scene("supervised")
    chosen = torch.randint(fresh.n_samples, (48,), generator=generator_of(seed)).unique()
    few = {name: values[chosen] for name, values in fresh.factors.items()}
    some = replace(fresh, samples=fresh.samples[chosen])
    some = replace(some, sampling=replace(fresh.sampling, factors=few))
    named = _named(found, some, seed)
    return {"directions that read a factor are named": sum(named) / len(named)}


def _random(seed: int) -> Outcome:
    found, fresh = _scene("pca")
    rows = torch.randn(8, fresh.n_features, generator=generator_of(seed))
    rows = rows / rows.norm(dim=1, keepdim=True)
    named = _named(replace(found, rows=rows), fresh, seed)
    return {"a random direction reads a factor": sum(named) / len(named)}


CLAIM = Claim(
    name="label",
    says="≈ rotation (ρ .97, …), reads rotation",
    assumes="held-out samples are independent",
    breaks="a random direction truly correlates with factors that carry much of the variance: it "
    "may read one, and gets a label only if one step changes it visibly",
    cells=(
        *(
            Cell(f"shuffled factors, {finder}", SIZE, partial(_shuffled, finder), runs=1000)
            for finder in ("pca", "supervised")
        ),
        Cell("regression of each factor", POWER, _planted, runs=100),
        Cell("random directions, before visibility", OUTSIDE, _random, runs=100),
    ),
)
