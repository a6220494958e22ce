"""How often noise is counted as components, and how often planted components are found."""

from __future__ import annotations

from functools import partial

import torch
from claims import OUTSIDE, POWER, SIZE, Cell, Claim, Outcome
from samples import as_latents, gaussian, generator_of, rows_of, stationary_fields

from latentlab.chance.nulls import NULLS
from latentlab.components.fitting import fit_pca
from latentlab.latents import Neighborhood, Sampling
from latentlab.layouts import TokenLayout, Window

NULLS_TRIED = ("isotropic", "parallel", "signflip")
SHAPES = ((64, 256), (256, 1024))


def _above(samples: torch.Tensor, seed: int) -> dict[str, int]:
    spectrum = fit_pca(samples, n_components=1).spectrum
    drawn = {name: NULLS.make(name).draw(samples, spectrum, seed=seed) for name in NULLS_TRIED}
    return {name: null.count_above(spectrum) for name, null in drawn.items()}


def _noise(shape: tuple[int, int], seed: int) -> Outcome:
    counts = _above(gaussian(*shape, seed), seed)
    return {f"{name}: at least one": count > 0 for name, count in counts.items()}


def _loud_rows(seed: int) -> Outcome:
    """Draw rows of unequal size, by the nulls that a judgment then chooses."""
    scale = 0.5 + torch.rand(100, 1, generator=generator_of(seed + 1))
    counts = _above(scale * gaussian(100, 400, seed), seed)
    return {"signflip: at least one": counts["signflip"] > 0}


def _cells_of_channels(
    exponent: float, seed: int, *, channels: int = 8, shared: float = 0.0
) -> Outcome:
    """Draw one latent of smooth channels, whose cells are the rows; one field may be in all."""
    fields = [
        stationary_fields(1, 1, 24, exponent, 100 * seed + c, window=True).samples.view(24, 24)
        for c in range(channels + 1)
    ]
    common, *own = (one / one.std() for one in fields)
    mixed = [shared**0.5 * common + (1 - shared) ** 0.5 * one for one in own]
    latent = torch.stack(mixed)[None]
    layout = TokenLayout((channels, 24, 24), Window(0, 0, 24, 24))
    rows = layout.flatten(latent / latent.std((2, 3), keepdim=True))
    hood = Neighborhood(rows, Sampling("tokens", layout, as_latents(latent).origin))
    spectrum = fit_pca(hood, n_components=1).spectrum
    found = NULLS.make("turned").draw(hood, spectrum, seed=seed).count_above(spectrum) > 0
    return {"turned: at least one": found}


def _no_noise(kind: str, seed: int) -> Outcome:
    """Draw what is no noise of the kind that the nulls draw."""
    match kind:
        case "stationary fields":
            rows = stationary_fields(64, 2, 12, 2.0, seed, window=True).samples
        case "rows of unequal size":
            rows = (0.5 + torch.rand(64, 1, generator=generator_of(seed))) * gaussian(64, 288, seed)
        case _:
            rows = rows_of("AR(.5)", 64, torch.ones(288, dtype=torch.float64), seed)
    return {f"{name}: at least one": count > 0 for name, count in _above(rows, seed).items()}


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
    says="3 components rise above chance (columns permuted; 2 above stationary fields)",
    assumes="noise of the kind that the null draws; all nulls that were drawn are named",
    breaks="any other noise: nothing is counted for copies, crops, images, frames, patches, stores",
    cells=(
        *(
            Cell(f"noise, N={n}, D={d}", SIZE, partial(_noise, (n, d)), runs, quick=n == 64)
            for (n, d), runs in zip(SHAPES, (400, 200), strict=True)
        ),
        Cell("rows of unequal size, U(.5, 1.5), N=100", SIZE, _loud_rows, runs=200),
        *(
            Cell(
                f"tokens of {channels} independent 1/f^{exponent:g} channels",
                SIZE,
                partial(_cells_of_channels, exponent, channels=channels),
                runs=400,
                quick=exponent == 2 and channels == 8,
            )
            for exponent in (1.0, 2.0, 3.0)
            for channels in (4, 8, 16)
        ),
        Cell(
            "tokens of 8 channels, a third of each in common",
            POWER,
            partial(_cells_of_channels, 2.0, shared=1 / 3),
            runs=200,
            quick=False,
        ),
        *(
            Cell(f"no such noise: {kind}", OUTSIDE, partial(_no_noise, kind), runs=60, quick=False)
            for kind in ("stationary fields", "rows of unequal size", "AR(.5) rows")
        ),
        *(
            Cell(
                f"3 components, {times:g}× the edge, N={n}, D={d}",
                POWER,
                partial(_planted, (n, d), times),
                runs=200 if n == 64 else 60,
                quick=n == 64,
            )
            for n, d in SHAPES
            for times in (2.0, 4.0)
        ),
    ),
)
