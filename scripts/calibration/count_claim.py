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


def _cells_of_channels(seed: int) -> Outcome:
    """Draw one latent of independent smooth channels, whose cells are the rows."""
    fields = [stationary_fields(1, 1, 24, 2.0, 100 * seed + c, window=True) for c in range(8)]
    latent = torch.stack([one.samples.view(24, 24) for one in fields], 0)[None]
    layout = TokenLayout((8, 24, 24), Window(0, 0, 24, 24))
    rows = layout.flatten(latent / latent.std((2, 3), keepdim=True))
    hood = Neighborhood(rows, Sampling("tokens", layout, as_latents(latent).origin))
    spectrum = fit_pca(hood, n_components=1).spectrum
    null = NULLS.make("shifted").draw(hood, spectrum, seed=seed)
    return {"shifted: at least one": null.count_above(spectrum) > 0}


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
        Cell("tokens of 8 independent 1/f² channels", SIZE, _cells_of_channels, runs=200),
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
