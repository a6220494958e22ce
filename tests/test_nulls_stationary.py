"""Stationary surrogates against the covariance averaged over all shifts of the torus."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import fields, hood_of, noise, whole

from latentlab.chance.elbow import find_elbow
from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.stationary import stationary_variances
from latentlab.components.fitting import fit_pca
from latentlab.errors import MemoryLimitError, UsageError
from latentlab.layouts import PatchLayout, TokenLayout, WholeLayout, Window
from latentlab.metrics.spectrum import fit_curve


def average_over_shifts(latents: torch.Tensor) -> np.ndarray:
    """Return the covariance (D, D) of latents (n, C, h, w), averaged over all cyclic shifts."""
    values = latents.double().numpy()
    values = values - values.mean(0)
    height, width = values.shape[2:]
    total = 0.0
    for down in range(height):
        for across in range(width):
            rows = np.roll(values, (down, across), (2, 3)).reshape(len(values), -1)
            total = total + rows.T @ rows
    return total / (height * width * (len(values) - 1))


def uneven_fields(shape: tuple[int, int, int], count: int = 12) -> torch.Tensor:
    """Return fields whose channels are mixed and whose left is louder than their right."""
    latents = fields(count, shape, 1.0)
    latents[:, 0] += 0.5 * latents[:, -1]
    return latents * torch.linspace(1, 3, shape[2]) + 2


@pytest.mark.parametrize("shape", [(2, 4, 6), (3, 5, 5), (1, 4, 3), (2, 1, 6), (3, 1, 1)], ids=str)
def test_variances_are_the_eigenvalues_of_the_shift_invariant_covariance(
    shape: tuple[int, int, int],
) -> None:
    latents = uneven_fields(shape) + noise(12, int(np.prod(shape))).view(12, *shape)
    hood = whole(latents)
    ours = stationary_variances(hood, fit_pca(hood).spectrum)
    expected = np.linalg.eigvalsh(average_over_shifts(latents))[::-1]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * expected[0])


def test_surrogates_are_gaussians_with_that_covariance() -> None:
    hood = whole(uneven_fields((2, 4, 6)))
    spectrum = fit_pca(hood).spectrum
    ours = NULLS.make("stationary").draw(hood, spectrum, draws=400).spectra.numpy()
    covariance = average_over_shifts(uneven_fields((2, 4, 6)))
    generator = np.random.default_rng(0)
    expected = []
    for _ in range(400):
        drawn = generator.multivariate_normal(np.zeros(48), covariance, 12)
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
    assert find_elbow(spectrum, [parallel, null], parallel.count_above(spectrum)) is None


def test_stationary_fields_seldom_exceed_their_own_null() -> None:
    chances = []
    for seed in range(40):
        hood = whole(fields(30, (1, 12, 12), 2.0, seed))
        spectrum = fit_pca(hood).spectrum
        null = NULLS.make("stationary").draw(hood, spectrum, draws=40, seed=seed)
        chances.append(null.chance_of_curve(spectrum))
    assert sum(chance <= 0.05 for chance in chances) <= 5


def test_what_happens_in_one_place_rises_above_stationary_fields() -> None:
    latents = fields(60, (2, 16, 16), 1.0)
    latents[:, :, 4:8, 4:8] += 2 * noise(60, 1)[:, :, None, None]
    hood = whole(latents)
    spectrum = fit_pca(hood).spectrum
    null = NULLS.make("stationary").draw(hood, spectrum)
    assert null.count_above(spectrum) >= 1
    assert null.chance_of_curve(spectrum) < 0.05


def test_a_region_is_its_own_torus() -> None:
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
    with pytest.raises(UsageError, match=f"stationary null for {layout.kind}.*cross-spectrum"):
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
