"""Whether the exponent of the eigenvalues' decay is that of the population."""

from __future__ import annotations

from functools import partial

from claims import COVERAGE, OUTSIDE, RATIO, Cell, Claim, Outcome
from samples import power_law, rows_of

from latentlab.chance.decay import Decay
from latentlab.chance.intervals import find_intervals
from latentlab.components.fitting import fit_pca

WIDTH = 600


def _found(kind: str, n_samples: int, power: float, seed: int) -> Decay | None:
    rows = rows_of(kind, n_samples, power_law(WIDTH, power), seed)
    found = find_intervals(rows, fit_pca(rows, 1).spectrum, seed=seed)
    return found.decay if found else None


def _covered(kind: str, n_samples: int, power: float, seed: int) -> Outcome:
    decay = _found(kind, n_samples, power, seed)
    return {"the exponent": decay.lower <= power <= decay.upper} if decay else {}


def _ratio(kind: str, n_samples: int, power: float, seed: int) -> Outcome:
    decay = _found(kind, n_samples, power, seed)
    return {"exponent": decay.exponent / power} if decay else {}


_GRID = [
    (kind, n, power)
    for kind in ("Gaussian", "t5", "AR(.5)")
    for n, power in ((100, 1.0), (256, 1.0), (256, 1.5))
]

CLAIM = Claim(
    name="decay",
    says="from rank 1 to 32, λ_k falls as k^−0.98 (0.91–1.05)",
    assumes="a power law over the stated ranks",
    breaks="spectra so flat that few ranks can be corrected: nothing is said where fewer than "
    "twelve, which takes 95 samples, and seldom with so few of heavy tails or in a sequence",
    cells=(
        *(
            Cell(
                f"{kind} rows, λ ∝ k^−{power:g}, N={n}",
                COVERAGE,
                partial(_covered, kind, n, power),
                runs=200,
                quick=n == 100 and kind != "AR(.5)",
            )
            for kind, n, power in _GRID
        ),
        *(
            Cell(
                f"estimates: {kind} rows, λ ∝ k^−{power:g}, N={n}",
                RATIO,
                partial(_ratio, kind, n, power),
                runs=100,
                quick=False,
            )
            for kind, n, power in _GRID
            if kind == "Gaussian"
        ),
        Cell(
            "Gaussian rows, λ ∝ k^−0.5, N=256",
            OUTSIDE,
            partial(_covered, "Gaussian", 256, 0.5),
            runs=100,
            quick=False,
        ),
    ),
)
