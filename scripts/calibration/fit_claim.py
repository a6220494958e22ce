"""How the fit of a logarithm depends on N, and whether half the rows tell how."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
from claims import OUTSIDE, RATIO, Cell, Claim, Outcome
from samples import power_law, rows_of

from latentlab.chance.intervals import find_intervals
from latentlab.components.fitting import fit_pca
from latentlab.metrics.spectrum import fit_curve

WIDTH = 400
_LOG_LIKE = 0.95


def _r2(rows: torch.Tensor) -> float:
    return fit_curve(fit_pca(rows, 1).spectrum.cumulative, logarithmic=True)[2]


@cache
def _of_others(n_samples: int, power: float) -> float:
    """Return the mean R² of other samples of this size."""
    rows = (
        rows_of("Gaussian", n_samples, power_law(WIDTH, power), 10**6 + seed) for seed in range(40)
    )
    return float(np.mean([_r2(one) for one in rows]))


def _half(n_samples: int, power: float, seed: int) -> Outcome:
    rows = rows_of("Gaussian", n_samples, power_law(WIDTH, power), seed)
    found = find_intervals(rows, fit_pca(rows, 1).spectrum, seed=seed)
    assert found is not None
    return {"R² of half the rows": found.half_r2 / _of_others(n_samples // 2, power)}


def _called(n_samples: int, power: float, seed: int) -> Outcome:
    rows = rows_of("Gaussian", n_samples, power_law(WIDTH, power), seed)
    return {"R² of .95 or more": _r2(rows) >= _LOG_LIKE}


CLAIM = Claim(
    name="fit",
    says="the fit of a logarithm depends on N: R² .936 at N = 256 and .96 at half of that",
    assumes="independent rows",
    breaks="as a property of the population: the same spectrum reads log-like or not with N",
    cells=(
        *(
            Cell(
                f"half of λ ∝ k^−{power:g}, N={n}",
                RATIO,
                partial(_half, n, power),
                runs=60,
                quick=n == 64,
            )
            for n, power in ((64, 1.0), (256, 1.0), (256, 1.5))
        ),
        *(
            Cell(
                f"λ ∝ k^−{power:g}, N={n}",
                OUTSIDE,
                partial(_called, n, power),
                runs=40,
                quick=False,
            )
            for n, power in ((32, 1.0), (512, 1.0), (32, 1.5), (512, 1.5))
        ),
    ),
)
