"""How often the interval of an additive share holds what so many copies explain of a new one."""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import combinations, product

import numpy as np
import torch
from claims import COVERAGE, Cell, Claim, Outcome
from samples import generator_of

from latentlab.directions.additivity import (
    MODELS,
    leave_one_out,
    share_of,
    standardize,
    terms_of,
)

FEATURES = 200
FITS = 200
NEW = 100
_UNSEEN = 900_000  # seeds that no simulation has


def _draw(n: int, factors: int, kind: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows (n, D) that factors, their squares and products explain, and the factors."""
    generator = generator_of(seed)
    normal = torch.randn(n, factors, generator=generator, dtype=torch.float64)
    uniform = torch.rand(n, factors, generator=generator, dtype=torch.float64)
    drawn = normal if kind == "normal" else (uniform - 0.5) * 12**0.5
    squares = 0.5 * (drawn.square() - 1)
    pairs = [drawn[:, i] * drawn[:, j] for i, j in combinations(range(factors), 2)]
    causes = torch.cat([drawn, squares, 0.3 * torch.stack(pairs, 1)], 1)
    patterns = torch.randn(causes.shape[1], FEATURES, generator=generator_of(0)).double()
    noise = torch.randn(n, FEATURES, generator=generator, dtype=torch.float64)
    return causes @ patterns + factors**0.5 * noise, drawn


@lru_cache
def _truth(n: int, factors: int, kind: str) -> dict[str, float]:
    """Return what a regression fitted to n samples explains of new ones, by scikit-learn."""
    from sklearn.linear_model import Ridge

    sums = dict.fromkeys(MODELS, 0.0)
    whole = 0.0
    for seed in range(FITS):
        seen, known = _draw(n, factors, kind, _UNSEEN + 2 * seed)
        rows, drawn = _draw(NEW, factors, kind, _UNSEEN + 2 * seed + 1)
        around = seen - seen.mean(0)
        whole += float((rows - seen.mean(0)).square().sum())
        now = (drawn - known.mean(0)) / known.std(0)
        for model in MODELS:
            penalty = leave_one_out(around @ around.T, terms_of(standardize(known), model)).penalty
            old, new = _raw(standardize(known), model), _raw(now, model)
            scale = old.std(0, ddof=1)
            fit = Ridge(alpha=max(penalty or 0.0, 1e-9)).fit(old / scale, seen.numpy())
            sums[model] += float(np.square(rows.numpy() - fit.predict(new / scale)).sum())
    return {model: 1 - error / whole for model, error in sums.items()}


def _raw(standard: torch.Tensor, model: str) -> np.ndarray:
    """Return the terms of a regression, not centered and not scaled."""
    columns = standard.numpy()
    parts = [columns]
    if model != "linear":
        parts += [columns**2, columns**3]
    if model == "pairwise":
        chosen = combinations(range(columns.shape[1]), 2)
        parts += [np.stack([columns[:, i] * columns[:, j] for i, j in chosen], 1)]
    return np.concatenate(parts, 1)


def _held(n: int, factors: int, kind: str, seed: int) -> Outcome:
    truth = _truth(n, factors, kind)
    rows, drawn = _draw(n, factors, kind, seed)
    gram = (rows - rows.mean(0)) @ (rows - rows.mean(0)).T
    shares = {model: share_of(gram, drawn, model) for model in MODELS}
    return {model: one.lower <= truth[model] <= one.upper for model, one in shares.items()}


CLAIM = Claim(
    name="additivity",
    says="fitted to these 64 copies, a sum of effects of the 9 factors explains 54 % (51–58) of a "
    "new copy's variance",
    assumes="independent copies; the share is that of a regression fitted to so many copies",
    breaks="as a property of infinitely many copies: with few copies beside the terms, shares are "
    "lower than with many",
    cells=tuple(
        Cell(
            f"{factors} {kind} factors, N={n}",
            COVERAGE,
            partial(_held, n, factors, kind),
            300,
            (0.90, 0.98),
            quick=(n, factors, kind) == (64, 3, "uniform"),
        )
        for n, factors, kind in product((64, 256), (3, 9), ("uniform", "normal"))
    ),
)
