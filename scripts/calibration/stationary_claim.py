"""Whether a curve that is called non-stationary is."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from claims import POWER, SIZE, Cell, Claim, Outcome
from samples import gaussian, stationary_fields

from latentlab.chance.nulls import NULLS
from latentlab.components.fitting import fit_pca
from latentlab.latents import Neighborhood

SIDE = 16
WORDS = "the curve is said to rise above stationary fields"


def _rises(hood: Neighborhood, seed: int) -> Outcome:
    spectrum = fit_pca(hood, n_components=1).spectrum
    null = NULLS.make("stationary").draw(hood, spectrum, seed=seed)
    return {WORDS: null.chance_of_curve(spectrum) < 0.05}


def _stationary(where: str, power: float, channels: int, n_samples: int, seed: int) -> Outcome:
    hood = stationary_fields(n_samples, channels, SIDE, power, seed, window=where == "window")
    return _rises(hood, seed)


def _with_a_place(n_samples: int, share: float, seed: int) -> Outcome:
    """Add one pattern in a quarter of the window, with this share of the variance."""
    hood = stationary_fields(n_samples, 4, SIDE, 2.0, seed, window=True)
    layout, generator = hood.layout, torch.Generator().manual_seed(seed)
    bump = torch.zeros(4, SIDE, SIDE)
    bump[:, 4:12, 4:12] = torch.randn(4, 1, 1, generator=generator)
    scores = gaussian(n_samples, 1, seed + 1)[:, :, None, None]
    ratio = share / (1 - share) * float(hood.samples.var(0).sum()) / float(bump.square().sum())
    latents = layout.fields(hood.samples) + ratio**0.5 * scores * bump
    return _rises(_replaced(hood, latents), seed)


def _replaced(hood: Neighborhood, latents: torch.Tensor) -> Neighborhood:
    return Neighborhood(hood.layout.flatten(latents), hood.sampling)


_GRID = product(("window", "torus"), (1, 2, 3), (1, 4, 16), (64, 256))

CLAIM = Claim(
    name="stationary",
    says="the curve rises above what stationary fields of the same covariance give",
    assumes="independent rows of equal size, Gaussian fields",
    breaks="rows of unequal size",
    cells=(
        *(
            Cell(
                f"{where}, 1/f^{power}, {channels} channels, N={n}",
                SIZE,
                partial(_stationary, where, power, channels, n),
                runs=200 if n == 64 else 100,
                quick=n == 64 and (power, channels) == (2, 1),
            )
            for where, power, channels, n in _GRID
        ),
        *(
            Cell(
                f"one pattern in one place, {share:.0%}, N={n}",
                POWER,
                partial(_with_a_place, n, share),
                runs=100,
                quick=False,
            )
            for share, n in product((0.1, 0.3), (64, 256))
        ),
    ),
)
