"""The isotropic null against simulation and published figures; curve statistics against oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from latentlab.chance.nulls.isotropic import isotropic_edge, isotropic_spectrum
from latentlab.components.fitting import fit_pca
from latentlab.components.summary import summarize_spectrum
from latentlab.latents import Spectrum
from latentlab.metrics.spectrum import (
    components_for,
    fit_curve,
    participation_ratio,
    participation_ratio_corrected,
)

# Simulated: N, D, share at 10 % and 50 % of the components, k90, R² linear and log, λ₁/λ_last.
SIMULATED = [
    (500, 65536, 0.115, 0.538, 442, 0.999, 0.79, 1.41),
    (500, 16384, 0.130, 0.575, 432, 0.994, 0.82, 2.01),
    (500, 4096, 0.164, 0.648, 408, 0.977, 0.86, 4.19),
    (2000, 4096, 0.239, 0.787, 1336, 0.910, 0.907, 31),
]


@pytest.mark.parametrize("row", SIMULATED, ids=lambda row: f"{row[0]}x{row[1]}")
def test_isotropic_curve_reproduces_simulated_figures(row: tuple[float, ...]) -> None:
    n_samples, n_features, tenth, half, k90, linear, log, ratio = row
    spectrum = isotropic_spectrum(int(n_samples), int(n_features))
    curve, variances = spectrum.cumulative, spectrum.explained_variance
    assert float(curve[int(n_samples) // 10 - 1]) == pytest.approx(tenth, abs=0.002)
    assert float(curve[int(n_samples) // 2 - 1]) == pytest.approx(half, abs=0.002)
    assert components_for(curve, 0.9) == pytest.approx(k90, abs=1)
    assert fit_curve(curve, logarithmic=False)[2] == pytest.approx(linear, abs=0.002)
    assert fit_curve(curve, logarithmic=True)[2] == pytest.approx(log, abs=0.006)
    assert float(variances[0] / variances[-1]) == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize(("n_samples", "n_features"), [(200, 800), (800, 200), (300, 300)])
def test_isotropic_curve_equals_that_of_drawn_noise(n_samples: int, n_features: int) -> None:
    noise = torch.randn(n_samples, n_features, generator=torch.Generator().manual_seed(0))
    drawn = fit_pca(noise).spectrum
    expected = isotropic_spectrum(n_samples, n_features)
    assert len(drawn.explained_variance) == len(expected.explained_variance)
    torch.testing.assert_close(drawn.cumulative, expected.cumulative, atol=0.005, rtol=0)
    top = float(drawn.explained_variance[0])
    assert top == pytest.approx(isotropic_edge(n_samples, n_features), rel=0.05)


def test_isotropic_noise_has_no_component_beyond_the_edge_and_planted_ones_have() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(256, 4096, generator=generator)
    edge = isotropic_edge(256, 4096)
    assert int((fit_pca(noise).spectrum.explained_variance > 1.05 * edge).sum()) == 0
    noise[:, :5] *= math.sqrt(1 + 4 * math.sqrt(4096 / 255))
    assert int((fit_pca(noise).spectrum.explained_variance > 1.05 * edge).sum()) == 5


@pytest.mark.parametrize(("n_samples", "n_features"), [(100, 4096), (50, 60), (400, 100)])
def test_corrected_participation_ratio_of_noise_is_its_dimension(
    n_samples: int, n_features: int
) -> None:
    noise = torch.randn(n_samples, n_features, generator=torch.Generator().manual_seed(0))
    variances = fit_pca(noise).spectrum.explained_variance
    null = 1 / (1 / (n_samples - 1) + 1 / n_features)
    assert participation_ratio(variances) == pytest.approx(null, rel=0.05)
    corrected = participation_ratio_corrected(variances, n_samples)
    assert corrected == pytest.approx(n_features, rel=0.1)


def test_equal_eigenvalues_are_corrected_to_infinity() -> None:
    assert participation_ratio_corrected(torch.ones(9), 10) == math.inf


@pytest.mark.parametrize("logarithmic", [False, True])
def test_fits_equal_scipys_regression(logarithmic: bool) -> None:
    curve = torch.rand(40, generator=torch.Generator().manual_seed(0)).double().cumsum(0)
    k = np.arange(1, 41)
    expected = linregress(np.log(k) if logarithmic else k, curve.numpy())
    intercept, slope, r2 = fit_curve(curve, logarithmic=logarithmic)
    expected_values = [expected.intercept, expected.slope, expected.rvalue**2]
    np.testing.assert_allclose([intercept, slope, r2], expected_values)


def test_eigenvalues_falling_as_one_over_k_give_a_log_curve() -> None:
    variances = 1 / torch.arange(1, 501, dtype=torch.float64)
    facts = summarize_spectrum(Spectrum(variances, float(variances.sum()), 501, 500))
    assert facts["log_fit_r2"] > 0.999 > facts["linear_fit_r2"]


def test_components_for_counts_from_one_and_knows_when_it_cannot_tell() -> None:
    curve = torch.tensor([0.5, 0.9, 0.95])
    assert components_for(curve, 0.5) == 1
    assert components_for(curve.double(), 0.6) == 2
    assert components_for(curve, 0.99) is None
