"""Bootstrap intervals against SciPy, closed forms and their own promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from latentlab.metrics.bootstrap import (
    FEWEST,
    joint_members,
    joint_quantile,
    share_interval,
    studentize,
    studentize_difference,
)


def ratio(means: np.ndarray) -> np.ndarray:
    return means[..., 0] / means[..., 1]


def test_the_resamples_have_scipys_studentized_distribution() -> None:
    rows = np.random.default_rng(1).gamma(2, size=24)
    found = studentize(rows, draws=20_000)
    error = rows.std() / np.sqrt(24)
    assert found.error == pytest.approx(error, rel=1e-6)

    def studentized(sample: np.ndarray, axis: int = -1) -> np.ndarray:
        errors = sample.std(axis) / np.sqrt(24)
        return np.abs(sample.mean(axis) - rows.mean()) / np.maximum(errors, 1e-12)

    theirs = stats.bootstrap(
        (rows,), studentized, n_resamples=20_000, method="percentile", rng=0
    ).bootstrap_distribution
    assert found.quantile() == pytest.approx(np.quantile(theirs, 0.95), rel=0.03)


def test_the_error_of_a_ratio_is_scipys_bootstrap_error() -> None:
    rng = np.random.default_rng(2)
    rows = rng.gamma(20, size=(200, 2))
    found = studentize(rows, ratio)
    theirs = stats.bootstrap(
        tuple(rows.T),
        lambda a, b, axis=-1: a.mean(axis) / b.mean(axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=0,
    ).standard_error
    assert found.value == pytest.approx(rows[:, 0].mean() / rows[:, 1].mean())
    assert found.error == pytest.approx(theirs, rel=0.05)


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(size=40) * 10
    first, other = image + rng.normal(size=40), image + rng.normal(size=40) + 2
    low, high = studentize_difference(first, other).interval()
    assert low < -2 < high
    assert high < 0
    mean, reach = stats.ttest_rel(first, other).confidence_interval(0.95)
    assert (low, high) == pytest.approx((mean, reach), abs=0.15)


def test_few_or_equal_images() -> None:
    assert studentize(np.arange(FEWEST - 1)).interval() == (None, None)
    assert studentize(np.ones(9)).interval() == (1, 1)
    assert studentize_difference(np.ones((9, 2)), np.ones((9, 2)), ratio).interval() == (0, 0)


@pytest.mark.parametrize(("hits", "n"), [(0, 8), (3, 8), (8, 8), (1, 24)])
def test_intervals_of_shares_are_scipys(hits: int, n: int) -> None:
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert share_interval(hits / n, n) == pytest.approx(tuple(theirs), abs=1e-12)


def test_joint_intervals_of_copies_are_those_of_one() -> None:
    one = studentize(np.random.default_rng(4).normal(size=30))
    assert joint_quantile([one, one]) == one.quantile()


@pytest.mark.parametrize(
    "rows", [[1] * 7 + [2], [0] * 23 + [0.1]], ids=["reach of 8 images", "share of 24 images"]
)
def test_a_discrete_column_leaves_the_joint_intervals_of_others(rows: list[float]) -> None:
    one = studentize(np.random.default_rng(6).normal(size=24))
    discrete = studentize(rows)
    assert discrete.interval() == (None, None)
    assert joint_members([discrete, one]) == [one]
    assert joint_quantile([discrete, one]) == one.quantile()


def test_discrete_columns_that_are_seldom_constant_are_not_so_together() -> None:
    halves = [studentize(np.roll([0, 0, 0, 1, 1, 1, 1, 1], k)) for k in range(8)]
    assert all(np.isfinite(one.quantile()) for one in halves)
    assert 0 < len(joint_members(halves)) < 8
    assert np.isfinite(joint_quantile(halves))


@pytest.mark.parametrize("kind", ["mean", "difference"])
def test_intervals_cover_what_they_state(kind: str) -> None:
    """A quick look; `make calibration` does it in full."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(300):
        rows = 30 + 4 * rng.normal(size=24) + rng.gamma(2, size=24)
        if kind == "mean":
            (low, high), truth = studentize(rows, draws=500).interval(), 32
        else:
            other = rows + 0.3 * rng.gamma(2, size=24)
            (low, high), truth = studentize_difference(rows, other, draws=500).interval(), -0.6
        hits.append(low <= truth <= high)
    assert 0.915 <= np.mean(hits) <= 0.98
