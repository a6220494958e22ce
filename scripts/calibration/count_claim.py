"""How often noise is counted as components, and how often planted components are found."""

from __future__ import annotations

from functools import partial

import torch
from claims import POWER, SIZE, Cell, Claim, Outcome
from samples import gaussian, generator_of

from latentlab.chance.nulls import NULLS
from latentlab.components.fitting import fit_pca

NULLS_TRIED = ("isotropic", "parallel", "signflip")
SHAPES = ((64, 256), (256, 1024))


def _above(samples: torch.Tensor, seed: int) -> dict[str, int]:
    spectrum = fit_pca(samples, n_components=1).spectrum
    drawn = {name: NULLS.make(name).draw(samples, spectrum, seed=seed) for name in NULLS_TRIED}
    return {name: null.count_above(spectrum) for name, null in drawn.items()}


def _noise(shape: tuple[int, int], seed: int) -> Outcome:
    counts = _above(gaussian(*shape, seed), seed)
    return {f"{name}: at least one": count > 0 for name, count in counts.items()}


def _planted(shape: tuple[int, int], times: float, seed: int) -> Outcome:
    """Plant three components at a multiple of the detection edge, √(D/N)."""
    n_samples, n_features = shape
    generator = generator_of(10_000 + seed)
    directions = torch.linalg.qr(torch.randn(n_features, 3, generator=generator))[0]
    strength = (times * (n_features / n_samples) ** 0.5) ** 0.5
    scores = strength * torch.randn(n_samples, 3, generator=generator)
    counts = _above(gaussian(*shape, seed) + scores @ directions.T, seed)
    return {f"{name}: all three": count == 3 for name, count in counts.items()}


CLAIM = Claim(
    name="count",
    says="so many eigenvalues exceed the largest of a null model",
    assumes="the samples are noise of the kind that the null draws",
    breaks="any other noise",
    cells=(
        *(
            Cell(f"noise, N={n}, D={d}", SIZE, partial(_noise, (n, d)), runs=400, quick=n == 64)
            for n, d in SHAPES
        ),
        *(
            Cell(
                f"3 components, {times:g}× the edge, N={n}, D={d}",
                POWER,
                partial(_planted, (n, d), times),
                runs=200,
                quick=n == 64,
            )
            for n, d in SHAPES
            for times in (2.0, 4.0)
        ),
    ),
)
