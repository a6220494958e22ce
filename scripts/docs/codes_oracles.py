"""Scores of disentanglement, on codes whose factors are known."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from oracles import Pair, oracle

HEADING = "Disentanglement of codes"
PLACE = 4


@cache
def sample() -> tuple[Any, Any]:
    """Return codes (400, 3) that mix three factors (400, 3) of 3, 4 and 5 values."""
    generator = np.random.default_rng(0)
    factors = np.stack([generator.integers(levels, size=400) for levels in (3, 4, 5)], 1)
    codes = factors @ np.array([[1, 0.4, 0], [0, 1, 0], [0.2, 0, 1]])
    return codes, factors


@cache
def informations() -> Any:
    """Return scikit-learn's mutual information of binned codes and factors, (3, 3), in nats."""
    from sklearn.metrics import mutual_info_score

    codes, factors = sample()
    low, high = codes.min(0), codes.max(0)
    binned = np.minimum((codes - low) / (high - low) * 20, 19).astype(int)
    return np.array([[mutual_info_score(z, v) for v in factors.T] for z in binned.T])


@cache
def entropies() -> Any:
    """Return SciPy's entropies of the factors."""
    from scipy.stats import entropy

    return np.array([entropy(np.bincount(one)) for one in sample()[1].T])


@oracle(
    numbers=("mig",),
    by="scikit-learn: `mutual_info_score`; SciPy: `stats.entropy`",
    tolerance=1e-9,
    test="test_disentanglement_metrics.py::test_gaps_equal_the_formula_on_scikit_learns_mutual_information",
)
def mig() -> Pair:
    from latentlab.metrics.mig import mig as ours

    ranked = np.sort(informations(), 0)
    return ours(*sample()), np.mean((ranked[-1] - ranked[-2]) / entropies())


@oracle(
    numbers=("modularity",),
    by="closed form: a code that two factors share as one of ten",
    tolerance=1e-9,
    test="test_disentanglement_metrics.py::test_one_code_for_two_factors_scores_what_the_entropy_says",
)
def modularity() -> Pair:
    from latentlab.metrics.modularity import modularity_of

    return modularity_of(np.kron(np.eye(5), np.ones((1, 2)))), 1 - 1 / 9


@oracle(
    numbers=("dci_disentanglement", "dci_completeness"),
    by="closed form: 1 − ln 2 / ln 10 and 1",
    tolerance=1e-9,
    test="test_disentanglement_metrics.py::test_one_code_for_two_factors_scores_what_the_entropy_says",
)
def dci() -> Pair:
    from latentlab.metrics.dci import completeness_of, disentanglement_of

    importance = np.kron(np.eye(5), np.ones((1, 2)))
    ours = [disentanglement_of(importance), completeness_of(importance)]
    return ours, [1 - np.log(2) / np.log(10), 1]


@oracle(
    numbers=("info_modularity", "info_compactness"),
    by="scikit-learn: shares of `mutual_info_score`",
    tolerance=1e-6,
    test="test_codes.py::test_infomec_is_an_independent_implementation",
)
def infomec() -> Pair:
    from latentlab.metrics.infomec import infomec as ours

    shares = informations() / entropies()
    modular = (np.mean(shares.max(1) / shares.sum(1)) - 1 / 3) / (1 - 1 / 3)
    compact = (np.mean(shares.max(0) / shares.sum(0)) - 1 / 3) / (1 - 1 / 3)
    found = ours(*sample())
    return [found.modularity, found.compactness], [modular, compact]


@oracle(
    numbers=("table.differences.value", "metrics.value", "means", "differences"),
    by="NumPy: means of differences, image by image",
    tolerance=1e-9,
    test="test_comparison.py::test_the_order_is_that_of_an_independent_psnr",
)
def differences() -> Pair:
    from latentlab.metrics.bootstrap import identity, studentize, studentize_difference

    first, other = np.random.default_rng(0).normal(size=(2, 24, 1))
    ours = [
        studentize(first, identity).value,
        studentize_difference(first, other, identity).value,
    ]
    return np.ravel(ours), [first.mean(), (first - other).mean()]
