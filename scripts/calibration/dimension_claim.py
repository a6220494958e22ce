"""What the intervals of a spectrum cover: of other samples, and of the population."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, partial
from itertools import product

import numpy as np
import torch
from claims import COVERAGE, OUTSIDE, RATIO, Cell, Claim, Outcome
from samples import power_law, rows_of

from latentlab.chance.dimension import dimension_of_half
from latentlab.chance.intervals import Intervals, find_intervals
from latentlab.chance.reach import Interval
from latentlab.components.fitting import fit_pca
from latentlab.metrics.spectrum import components_for, participation_ratio

WIDTH = 200
RANKS = (1, 5, 20)
_OTHERS = 300


@cache
def _others(kind: str, n_samples: int, power: float) -> Mapping[str, float]:
    """Return the mean of each number over other samples drawn in the same way."""
    spectra = [
        fit_pca(rows_of(kind, n_samples, power_law(WIDTH, power), 10**6 + seed), 1).spectrum
        for seed in range(_OTHERS)
    ]
    curve = torch.stack([one.cumulative for one in spectra]).mean(0)
    ratio = float(np.mean([participation_ratio(one.explained_variance) for one in spectra]))
    k90 = float(np.median([components_for(one.cumulative, 0.9) for one in spectra]))
    return {"ratio": ratio, "k90": k90, **{f"share at k={k}": float(curve[k - 1]) for k in RANKS}}


def _intervals(kind: str, n_samples: int, power: float, seed: int) -> Intervals:
    rows = rows_of(kind, n_samples, power_law(WIDTH, power), seed)
    found = find_intervals(rows, fit_pca(rows, 1).spectrum, seed=seed)
    assert found is not None
    return found


def _holds(interval: Interval, value: float) -> bool:
    return interval.lower <= value <= interval.upper


def _covered(kind: str, n_samples: int, power: float, seed: int) -> Outcome:
    found = _intervals(kind, n_samples, power, seed)
    truth = _others(kind, n_samples, power)
    population = power_law(WIDTH, power)
    exact = float(population.sum() ** 2 / population.square().sum())
    return {
        "participation ratio of another N rows": _holds(found.participation_ratio, truth["ratio"]),
        "effective dimension of the population": _holds(found.participation_ratio_corrected, exact),
        **{
            f"share at k={k} of another N rows": bool(
                found.curve_lower[k - 1] <= truth[f"share at k={k}"] <= found.curve_upper[k - 1]
            )
            for k in RANKS
        },
    }


def _bracketed(kind: str, n_samples: int, power: float, seed: int) -> Outcome:
    """Return whether brackets, which are wider than intervals, hold the population."""
    found = _intervals(kind, n_samples, power, seed)
    curve = power_law(WIDTH, power).cumsum(0) / power_law(WIDTH, power).sum()
    held = {
        f"share at k={k} of the population": bool(
            found.population_lower[k - 1] <= curve[k - 1] <= found.curve_upper[k - 1]
        )
        for k in RANKS
    }
    k90 = components_for(curve, 0.9) or math.inf
    held["k90 of the population"] = found.k90.lower <= k90 <= found.population_k90
    held["k90 of another N rows"] = _holds(found.k90, _others(kind, n_samples, power)["k90"])
    return held


def _corrected(kind: str, n_samples: int, power: float, seed: int) -> Outcome:
    found = _intervals(kind, n_samples, power, seed)
    population = power_law(WIDTH, power)
    exact = float(population.sum() ** 2 / population.square().sum())
    curve = population.cumsum(0) / population.sum()
    ratios = {"effective dimension": found.participation_ratio_corrected.value / exact}
    known = found.population[4]
    if not known.isnan():
        ratios["share at k=5, corrected"] = float(known / curve[4])
    return ratios


def _half(kind: str, n_samples: int, seed: int) -> Outcome:
    rows = rows_of(kind, n_samples, power_law(WIDTH, 1.0), seed)
    population = power_law(WIDTH, 1.0)
    exact = float(population.sum() ** 2 / population.square().sum())
    found = dimension_of_half(rows)
    assert found is not None
    return {"effective dimension of half the rows": found / exact}


KINDS = ("Gaussian", "t5", "AR(.5)")
_GRID = list(product(KINDS, ((64, 1.0), (256, 1.0), (256, 0.5))))

CLAIM = Claim(
    name="dimension",
    says="effective dimension 18.8 (16.9–20.8); intervals of the curve and of k90",
    assumes="independent rows, or rows of which each resembles the next",
    breaks="rare rows of a kind of their own, which a sample may lack; sequences of long memory; "
    "in a sequence over a flat spectrum, shares of 20 components are covered too often (99 %)",
    cells=(
        *(
            Cell(
                f"{kind} rows, λ ∝ k^−{power:g}, N={n}",
                COVERAGE,
                partial(_covered, kind, n, power),
                runs=300,
                quick=n == 64 and kind == "t5",
            )
            for kind, (n, power) in _GRID
        ),
        *(
            Cell(
                f"brackets: {kind} rows, λ ∝ k^−{power:g}, N={n}",
                COVERAGE,
                partial(_bracketed, kind, n, power),
                runs=100,
                within=(0.93, 1),
                quick=n == 64 and kind == "Gaussian",
            )
            for kind, (n, power) in _GRID
        ),
        *(
            Cell(
                f"estimates: {kind} rows, λ ∝ k^−{power:g}, N={n}",
                RATIO,
                partial(_corrected, kind, n, power),
                runs=50,
                quick=False,
            )
            for kind, (n, power) in _GRID
        ),
        *(
            Cell(f"halves: {kind} rows, N={n}", RATIO, partial(_half, kind, n), 100, quick=False)
            for kind, n in product(("Gaussian", "t5"), (64, 256))
        ),
        Cell(
            "AR(.9) rows, λ ∝ k^−1, N=256",
            OUTSIDE,
            partial(_covered, "AR(.9)", 256, 1.0),
            runs=60,
            quick=False,
        ),
    ),
)
