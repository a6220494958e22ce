"""The law of row sizes: against SciPy, and against samples whose sizes are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from latentlab.chance.intervals import find_intervals
from latentlab.chance.size_law import fit_pareto, law_of, others_of
from latentlab.components.fitting import fit_pca


@pytest.mark.parametrize("shape", [-0.3, 0.1, 0.5])
def test_the_pareto_tail_is_that_of_maximum_likelihood(shape: float) -> None:
    excess = np.sort(genpareto.rvs(shape, scale=2, size=2000, random_state=0))
    expected, _, scale = genpareto.fit(excess, floc=0)
    found = fit_pareto(excess)
    assert found == pytest.approx((expected, scale), abs=0.05)


def test_a_law_draws_what_it_was_fitted_to() -> None:
    sizes = np.random.default_rng(0).pareto(2.5, 4000) + 1
    drawn = law_of(sizes).draw(50, 4000, np.random.default_rng(1)).ravel()
    for quantile, near in ((0.1, 0.02), (0.5, 0.05), (0.9, 0.1), (0.99, 0.2), (0.999, 0.4)):
        expected = (1 - quantile) ** (-1 / 2.5)
        assert np.quantile(drawn, quantile) == pytest.approx(expected, rel=near)


def test_of_constant_sizes_nothing_is_to_be_drawn() -> None:
    drawn = law_of(np.ones(50)).draw(2, 50, np.random.default_rng(0))
    np.testing.assert_allclose(drawn, 1)


def test_the_mean_is_that_of_elliptical_samples() -> None:
    """Sizes uniform in 0.5 … 1.5 and orthogonal directions: 1/PR = (13/12)/N."""
    sizes = torch.rand(400, generator=torch.Generator().manual_seed(0)) + 0.5
    found = others_of(sizes, 0.0, np.random.default_rng(0))
    assert found.mean == pytest.approx(400 * 12 / 13, rel=0.02)
    assert found.lower < 400 * 12 / 13 < found.upper
    assert found.of_directions == pytest.approx(0)
    alike = others_of(sizes, 0.05, np.random.default_rng(0))
    # d ln PR / d ln alike, by a difference.
    more = others_of(sizes, 0.05 * 1.01, np.random.default_rng(0))
    slope = np.log(alike.mean / more.mean) / np.log(1.01)
    assert alike.of_directions == pytest.approx(slope, rel=0.02)


def test_samples_without_large_rows_know_that_others_have_some() -> None:
    """Of rows with five degrees of freedom, few intervals miss what other samples give."""
    held, truth = 0, 25.17  # mean over 300 samples of 64 rows, eigenvalues k^-0.5
    scale = torch.arange(1, 201) ** -0.25
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(64, 200, generator=generator) * scale
        rows *= (3 / torch.randn(64, 5, generator=generator).square().sum(1)).sqrt()[:, None]
        found = find_intervals(rows, fit_pca(rows, 1).spectrum)
        assert found.other_sizes
        assert "Pareto" in found.method
        interval = found.participation_ratio
        assert 5 < interval.lower < interval.value < interval.upper
        held += interval.lower <= truth <= interval.upper
    assert held >= 8
    equal = torch.randn(64, 200, generator=torch.Generator().manual_seed(0))
    assert not find_intervals(equal, fit_pca(equal, 1).spectrum).other_sizes


def test_intervals_hold_nothing_that_is_impossible() -> None:
    """Of a few features with rare large rows: no ratio below 1, or above the number of features."""
    generator = torch.Generator().manual_seed(0)
    for features in (2, 3):
        rows = torch.randn(60, features, generator=generator)
        rows *= (1.5 * torch.randn(60, 1, generator=generator)).exp()
        found = find_intervals(rows, fit_pca(rows).spectrum)
        assert found.other_sizes
        interval = found.participation_ratio
        assert 1 <= interval.lower <= interval.value <= interval.upper <= features
        assert found.participation_ratio_corrected.lower >= 1
        least = torch.arange(1, features + 1) / features
        known = ~found.curve_lower.isnan()
        assert (found.curve_lower >= least - 1e-6)[known].all()
        assert (found.curve_lower <= found.curve_upper + 1e-6)[known].all()


@pytest.mark.parametrize("features", [1, 12])
def test_rows_along_a_line_have_a_ratio_of_one_whatever_their_sizes(features: int) -> None:
    sizes = np.random.default_rng(0).standard_t(1.5, 60)
    rows = torch.from_numpy(sizes)[:, None].float() * torch.ones(features)
    found = find_intervals(rows, fit_pca(rows).spectrum)
    for interval in (found.participation_ratio, found.participation_ratio_corrected):
        assert (interval.lower, interval.upper) == pytest.approx((1, 1))
    assert found.curve_lower[0] == pytest.approx(1)
    assert found.curve_upper[0] == pytest.approx(1)
