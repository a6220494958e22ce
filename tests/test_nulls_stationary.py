"""Stationary surrogates against the covariance averaged over pairs of places at one offset."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from latentlab.chance.elbow import find_elbow
from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.stationary import stationary_variances
from latentlab.components.fitting import fit_pca
from latentlab.errors import MemoryLimitError, UsageError
from latentlab.layouts import PatchLayout, TokenLayout, WholeLayout, Window
from latentlab.metrics.spectrum import fit_curve
from latentlab.testing.planted import fields, hood_of, noise, whole


def average_over_offsets(latents: torch.Tensor) -> np.ndarray:
    """Return the covariance (D, D) of latents (n, C, h, w), averaged over equal offsets."""
    values = latents.double().numpy()
    count, channels, height, width = values.shape
    centered = (values - values.mean(0)).reshape(count, channels, -1)
    covariance = np.einsum("ncx,ndy->xycd", centered, centered) / (count - 1)
    place = np.stack(np.divmod(np.arange(height * width), width))
    offset = place[:, :, None] - place[:, None]
    label = (offset[0] + height) * 4 * width + offset[1] + width
    for number in np.unique(label):
        covariance[label == number] = covariance[label == number].mean(0)
    return covariance.transpose(2, 0, 3, 1).reshape(channels * height * width, -1)


def nearest_variances(covariance: np.ndarray) -> np.ndarray:
    """Return the eigenvalues, descending, of the nearest covariance of the same trace."""
    values = np.linalg.eigvalsh(covariance)[::-1]
    moved = brentq(lambda by: np.clip(values - by, 0, None).sum() - values.sum(), -1e3, 1e3)
    return np.clip(values - moved, 0, None)


def uneven_fields(shape: tuple[int, int, int], count: int = 12) -> torch.Tensor:
    """Return fields whose channels are mixed and whose left is louder than their right."""
    latents = fields(count, shape, 1.0)
    latents[:, 0] += 0.5 * latents[:, -1]
    return latents * torch.linspace(1, 3, shape[2]) + 2


@pytest.mark.parametrize("shape", [(2, 4, 6), (3, 5, 5), (1, 4, 3), (2, 1, 6), (3, 1, 1)], ids=str)
def test_variances_are_the_eigenvalues_of_the_nearest_stationary_covariance(
    shape: tuple[int, int, int],
) -> None:
    latents = uneven_fields(shape) + noise(12, int(np.prod(shape))).view(12, *shape)
    hood = whole(latents)
    ours = stationary_variances(hood, fit_pca(hood).spectrum)
    expected = nearest_variances(average_over_offsets(latents))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * expected[0])


def test_surrogates_are_gaussians_with_that_covariance() -> None:
    hood = whole(uneven_fields((2, 4, 6)))
    spectrum = fit_pca(hood).spectrum
    ours = NULLS.make("stationary").draw(hood, spectrum, draws=400).spectra.numpy()
    variances = nearest_variances(average_over_offsets(uneven_fields((2, 4, 6))))
    generator = np.random.default_rng(0)
    expected = []
    for _ in range(400):
        drawn = generator.normal(size=(12, 48)) * np.sqrt(variances)
        values = np.linalg.svd(drawn - drawn.mean(0), compute_uv=False)[:11] ** 2
        expected.append(values / values.sum() * spectrum.total_variance)
    np.testing.assert_allclose(ours.mean(0), np.mean(expected, 0), rtol=0.05)
    np.testing.assert_allclose(ours[:, 0].std(), np.std(expected, 0)[0], rtol=0.2)


def test_wide_surrogates_in_rounds_have_the_same_spectra_as_fresh_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hood = whole(fields(10, (2, 16, 16), 1.0))
    spectrum = fit_pca(hood).spectrum
    in_rounds = NULLS.make("stationary").draw(hood, spectrum, draws=300).spectra
    monkeypatch.setattr("latentlab.chance.nulls.scrambled._COLUMNS_FOR_ROUNDS", 1000)
    fresh = NULLS.make("stationary").draw(hood, spectrum, draws=300).spectra
    torch.testing.assert_close(in_rounds.mean(0), fresh.mean(0), rtol=0.02, atol=0)
    torch.testing.assert_close(in_rounds.std(0), fresh.std(0), rtol=0.25, atol=0)


def test_cosines_for_large_fields_change_the_null_little(monkeypatch: pytest.MonkeyPatch) -> None:
    hood = whole(fields(40, (4, 24, 24), 2.0)[..., :12, :12])
    spectrum = fit_pca(hood).spectrum
    exact = stationary_variances(hood, spectrum)
    monkeypatch.setattr("latentlab.chance.nulls.stationary._LARGEST_BLOCK", 4 * 6**2)
    rough = stationary_variances(hood, spectrum)
    torch.testing.assert_close(rough[:20], exact[:20], rtol=0.05, atol=0)
    assert float(rough.square().sum() / exact.square().sum()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_windows_of_larger_fields_do_not_exceed_stationary_fields(power: float) -> None:
    above = 0
    for seed in range(10):
        hood = whole(fields(100, (1, 36, 36), power, seed)[..., :12, :12])
        spectrum = fit_pca(hood).spectrum
        null = NULLS.make("stationary").draw(hood, spectrum, draws=40, seed=seed)
        above += null.chance_of_curve(spectrum) < 0.05
    assert above <= 1


def test_a_field_of_power_one_over_f_squared_is_log_like_and_within_the_band() -> None:
    hood = whole(fields(128, (1, 32, 32), 2.0))
    pca = fit_pca(hood)
    spectrum = pca.spectrum
    assert fit_curve(spectrum.cumulative, logarithmic=True)[2] >= 0.95
    null = NULLS.make("stationary").draw(hood, spectrum)
    assert null.log_fit_r2 >= 0.95
    band = null.curve_band()
    inside = (spectrum.cumulative >= band.lower) & (spectrum.cumulative <= band.upper)
    assert float(inside.double().mean()) > 0.95
    assert null.chance_of_curve(spectrum) > 0.05
    assert null.count_above(spectrum) == 0
    parallel = NULLS.make("parallel").draw(hood, spectrum, draws=60)
    assert parallel.count_above(spectrum) > 0
    assert find_elbow(spectrum, [parallel, null]) is None


def test_stationary_fields_seldom_exceed_their_own_null() -> None:
    chances = []
    for seed in range(20):
        hood = whole(fields(30, (1, 12, 12), 2.0, seed))
        spectrum = fit_pca(hood).spectrum
        null = NULLS.make("stationary").draw(hood, spectrum, draws=40, seed=seed)
        chances.append(null.chance_of_curve(spectrum))
    assert sum(chance <= 0.05 for chance in chances) <= 3


def test_what_happens_in_one_place_rises_above_stationary_fields() -> None:
    latents = fields(60, (2, 16, 16), 1.0)
    latents[:, :, 4:8, 4:8] += 2 * noise(60, 1)[:, :, None, None]
    hood = whole(latents)
    spectrum = fit_pca(hood).spectrum
    null = NULLS.make("stationary").draw(hood, spectrum)
    assert null.count_above(spectrum) >= 1
    assert null.chance_of_curve(spectrum) < 0.05


def test_a_region_is_its_own_window() -> None:
    latents = fields(20, (2, 8, 8), 1.0)
    layout = WholeLayout((2, 8, 8), Window(1, 2, 4, 5))
    origin = whole(latents).origin
    hood = hood_of(layout.flatten(latents), origin, layout, "part")
    cut = whole(latents[:, :, 1:5, 2:7])
    one, other = (stationary_variances(some, fit_pca(some).spectrum) for some in (hood, cut))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "layout",
    [TokenLayout((2, 4, 4), Window(0, 0, 4, 4)), PatchLayout((2, 4, 4), Window(0, 0, 4, 4))],
)
def test_parts_of_one_latent_are_refused(layout) -> None:
    latents = fields(1, (2, 4, 4), 1.0)
    rows = layout.flatten(latents)
    hood = hood_of(rows, whole(latents).origin, layout, layout.kind)
    with pytest.raises(UsageError, match=f"stationary null for {layout.kind}.*autocovariance"):
        NULLS.make("stationary").draw(hood, fit_pca(hood).spectrum)


def test_a_plain_matrix_is_refused() -> None:
    samples = noise(10, 30)
    with pytest.raises(UsageError, match="a plain matrix"):
        NULLS.make("stationary").draw(samples, fit_pca(samples).spectrum)


def test_cross_spectra_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    hood = whole(fields(10, (4, 8, 8), 1.0))
    spectrum = fit_pca(hood).spectrum
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.00001")
    with pytest.raises(MemoryLimitError, match="cross-spectra of 4 channels"):
        NULLS.make("stationary").draw(hood, spectrum)
