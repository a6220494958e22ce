"""Whether a drop that is called an elbow ends a planted signal, and none is seen without one."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from claims import OUTSIDE, POWER, SIZE, Cell, Claim, Outcome
from samples import as_latents, gaussian, generator_of, power_law, rows_of, stationary_fields

from latentlab.chance.elbow import Elbow, find_elbow
from latentlab.chance.nulls import NULLS
from latentlab.chance.verdict import matching_nulls
from latentlab.components.fitting import fit_pca
from latentlab.latents import Neighborhood

SHAPE = (2, 12, 12)
WIDTH = 288
FOUND = "the elbow is where it was planted"
FALSE = "an elbow is reported"


def _elbow(hood: Neighborhood, seed: int) -> Elbow | None:
    spectrum = fit_pca(hood, n_components=1).spectrum
    names = matching_nulls(hood, spectrum, ("parallel", "stationary"))
    return find_elbow(
        spectrum, [NULLS.make(name).draw(hood, spectrum, seed=seed) for name in names]
    )


def _hood(rows: torch.Tensor) -> Neighborhood:
    return as_latents(rows.float().view(-1, *SHAPE))


def _turned(rows: torch.Tensor, seed: int) -> torch.Tensor:
    """Return rows in a space that was turned at random."""
    return rows @ torch.linalg.qr(gaussian(WIDTH, WIDTH, 50_000 + seed))[0]


def _planted(rank: int, ratio: float, seed: int) -> Outcome:
    """Plant components, the least of variance 1, over noise of largest eigenvalue 1 / ratio."""
    n_samples = 100
    edge = (1 + (WIDTH / (n_samples - 1)) ** 0.5) ** 2
    variances = torch.full((WIDTH,), 1 / (ratio * edge), dtype=torch.float64)
    variances[:rank] += _ladder(rank)
    rows = _turned(rows_of("Gaussian", n_samples, variances, seed), seed)
    found = _elbow(_hood(rows), seed)
    return {FOUND: found is not None and found.index == rank}


def _pure(rank: int, noise: float, seed: int) -> Outcome:
    """Plant components alone over noise of this standard deviation."""
    rows = gaussian(100, rank, seed) @ gaussian(rank, WIDTH, seed + 1) / WIDTH**0.5
    found = _elbow(_hood(rows + noise * gaussian(100, WIDTH, seed + 2)), seed)
    return {FOUND: found is not None and found.index == rank}


def _ladder(rank: int) -> torch.Tensor:
    """Return variances (rank,), float64, from 2 down to 1; 1 alone for a single one."""
    return torch.linspace(2, 1, rank, dtype=torch.float64) if rank > 1 else torch.ones(1).double()


def _over_tail(rank: int, ratio: float, seed: int) -> Outcome:
    """Plant components over a spectrum that itself falls as 1/k."""
    tail = power_law(WIDTH - rank, 1.0)
    variances = torch.cat([ratio * _ladder(rank), tail])
    found = _elbow(_hood(_turned(rows_of("Gaussian", 100, variances, seed), seed)), seed)
    return {FOUND: found is not None and found.index == rank}


def _rows(kind: str, power: float, seed: int) -> Outcome:
    rows = _turned(rows_of(kind, 100, power_law(WIDTH, power), seed), seed)
    return {FALSE: _elbow(_hood(rows), seed) is not None}


def _fields(where: str, power: float, channels: int, seed: int) -> Outcome:
    hood = stationary_fields(100, channels, 12, power, seed, window=where == "window")
    return {FALSE: _elbow(hood, seed) is not None}


def _t5_entries(seed: int) -> Outcome:
    chi2 = torch.randn(5, 100, WIDTH, generator=generator_of(seed + 9)).square().sum(0)
    return {FALSE: _elbow(_hood(gaussian(100, WIDTH, seed) * (3 / chi2).sqrt()), seed) is not None}


CLAIM = Claim(
    name="elbow",
    says="an elbow after k components",
    assumes="independent rows; the nulls that match the samples were drawn",
    breaks="a spectrum in several steps, of which one is reported; a drop that is less than four "
    "times as steep as those around it, as of one component over a tail λ ∝ 1/k that starts at a "
    "quarter of it",
    cells=(
        *(
            Cell(
                f"rank {rank}, λ_k = {ratio:g} λ_k+1",
                POWER,
                partial(_planted, rank, ratio),
                within=(0.95, 1),
                runs=100,
                quick=ratio == 3 and rank == 3,
            )
            for rank, ratio in product((1, 3, 8), (3.0, 20.0))
        ),
        *(
            Cell(
                f"rank {rank}, nothing but noise {noise:g}",
                POWER,
                partial(_pure, rank, noise),
                within=(0.95, 1),
                runs=100,
                quick=noise == 1e-2 and rank == 8,
            )
            for rank, noise in product((1, 3, 8), (1e-2, 1e-4))
        ),
        *(
            Cell(
                f"{kind} rows, λ ∝ k^−{power:g}",
                SIZE,
                partial(_rows, kind, power),
                runs=200,
                quick=power == 1 and kind == "t5",
            )
            for kind, power in product(("Gaussian", "t5"), (0.0, 0.5, 1.0, 2.0))
        ),
        Cell("t5 entries", SIZE, _t5_entries, runs=200, quick=False),
        *(
            Cell(
                f"{where}, 1/f^{power:g}, {channels} channels",
                SIZE,
                partial(_fields, where, power, channels),
                runs=150,
                quick=channels == 1 and power == 2 and where == "window",
            )
            for where, power, channels in product(("window", "torus"), (1.0, 2.0, 3.0), (1, 4))
        ),
        *(
            Cell(
                f"rank {rank} over a tail λ ∝ k^−1, λ_k = {ratio:g} λ_k+1",
                OUTSIDE,
                partial(_over_tail, rank, ratio),
                runs=40,
                quick=False,
            )
            for rank, ratio in ((1, 4.0), (1, 20.0), (3, 4.0), (8, 4.0))
        ),
        *(
            Cell(
                f"AR(.5) rows, λ ∝ k^−{power:g}",
                OUTSIDE,
                partial(_rows, "AR(.5)", power),
                runs=60,
                quick=False,
            )
            for power in (0.0, 1.0)
        ),
    ),
)
