"""Rank correlations against SciPy, and how often chance exceeds its threshold."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr

from latentlab.metrics.correlation import largest_by_chance, spearman


def test_every_pair_of_columns_has_scipys_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(30, 3, generator=generator)
    other = (first[:, :2] + torch.randn(30, 2, generator=generator)).round()  # with ties
    found = spearman(first, other)
    for row in range(3):
        for column in range(2):
            expected = spearmanr(first[:, row], other[:, column]).statistic
            assert float(found[row, column]) == pytest.approx(expected, abs=1e-12)


def test_constant_columns_correlate_with_nothing() -> None:
    ramp = torch.arange(6.0)[:, None]
    assert float(spearman(ramp, torch.ones(6, 1))) == 0
    assert float(spearman(torch.ones(6, 1), ramp)) == 0


def test_one_column_has_the_threshold_of_scipys_null() -> None:
    values = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    ramp = torch.arange(64.0)[:, None]
    found = largest_by_chance(
        ramp, values, generator=torch.Generator().manual_seed(1), permutations=5000
    )
    # For independent ranks t = ρ √((n − 2)/(1 − ρ²)) is nearly Student's with n − 2 freedoms.
    from scipy.stats import t

    quantile = t.ppf(0.975, 62)
    assert found == pytest.approx(quantile / (62 + quantile**2) ** 0.5, abs=0.01)


@pytest.mark.parametrize(("k", "columns"), [(1, 9), (8, 9)])
def test_sets_of_unrelated_columns_exceed_it_in_five_of_a_hundred(k: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(64, columns, generator=generator)
    ours = torch.randn(64, k, generator=generator) @ torch.randn(k, k, generator=generator)
    threshold = largest_by_chance(ours, values, generator=generator)
    unrelated = torch.randn(64, 500 * columns, generator=generator)
    largest = spearman(ours, unrelated).abs().amax(0).view(500, columns).amax(1)
    assert float((largest > threshold).double().mean()) == pytest.approx(0.05, abs=0.03)


def test_more_columns_need_a_larger_correlation() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(64, 20, generator=generator)
    few, many = (
        largest_by_chance(values, values[:, :count], generator=torch.Generator().manual_seed(4))
        for count in (1, 20)
    )
    assert few < many - 0.05
