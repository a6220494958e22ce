"""How often the interval of the additive share holds the share of very many samples."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from claims import COVERAGE, OUTSIDE, Cell, Claim, Outcome
from samples import generator_of

from latentlab.directions.factor_model import MODELS, _share, _terms

FEATURES = 200
MANY = 1500
SAMPLES = 16


def _draw(n: int, uniform: bool, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows (n, D) that three factors, a square and a product explain, and the factors."""
    generator = generator_of(seed)
    patterns = torch.randn(5, FEATURES, generator=generator_of(0), dtype=torch.float64)
    draw = torch.rand if uniform else torch.randn
    factors = draw(n, 3, generator=generator, dtype=torch.float64)
    factors = (factors - factors.mean(0)) / factors.std(0)
    square, product = factors[:, 0].square(), factors[:, 1] * factors[:, 2]
    causes = torch.column_stack([factors, 0.5 * square, 0.7 * product])
    noise = torch.randn(n, FEATURES, generator=generator, dtype=torch.float64)
    return causes @ patterns + noise, factors


def _shares(n: int, uniform: bool, seed: int) -> dict[str, tuple[float, float, float]]:
    rows, factors = _draw(n, uniform, seed)
    centered = rows - rows.mean(0)
    gram = centered @ centered.T
    shares = {model: _share(gram, _terms(factors, model)) for model in MODELS}
    return {model: (share.value, share.lower, share.upper) for model, share in shares.items()}


@lru_cache
def _truth(uniform: bool) -> dict[str, float]:
    """Return the share of very many samples: a mean, since one sample of 1,500 is off by itself."""
    drawn = [_shares(MANY, uniform, 999_000 + seed) for seed in range(SAMPLES)]
    return {model: sum(shares[model][0] for shares in drawn) / SAMPLES for model in MODELS}


def _held(n: int, uniform: bool, seed: int) -> Outcome:
    truth = _truth(uniform)
    found = _shares(n, uniform, seed)
    return {model: low <= truth[model] <= high for model, (_, low, high) in found.items()}


CLAIM = Claim(
    name="additivity",
    says="the factors explain 58 % (57–60) linearly, 73 % with products of pairs",
    assumes="independent samples; the share is that of fits to so many samples, which is a little "
    "below that of very many",
    breaks="with few samples beside the terms (N = 64 and 9 factors: 63 terms), shares of "
    "products are too low",
    cells=(
        Cell("uniform factors, N=256", COVERAGE, partial(_held, 256, True), 400, (0.90, 0.98)),
        Cell("normal factors, N=256", OUTSIDE, partial(_held, 256, False), 400),
        Cell("uniform factors, N=64", OUTSIDE, partial(_held, 64, True), 400),
    ),
)
