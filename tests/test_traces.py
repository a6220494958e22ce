"""Traces from random probes against exact ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from latentlab.errors import UsageError, ZeroJacobianError
from latentlab.latents import Latent
from latentlab.pullback import decoder_map, estimate_traces
from latentlab.testing.linear_vae import LinearVAE


def mixed_map(vae: LinearVAE) -> tuple[object, np.ndarray]:
    """Return a map of 24 latent values to 48 features, and its matrix (48, 24)."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.linspace(0.2, 2, 48)
    mixing = torch.randn(192, 48, generator=generator) * scales / 10

    def mix(images: Tensor) -> Tensor:
        return images.flatten(1) @ mixing

    around = decoder_map(vae, Latent(torch.zeros(6, 2, 2), vae.spec), features=mix)
    return around, around.push(torch.eye(24)).T.double().numpy()


def exact(matrix: np.ndarray) -> tuple[float, float, float]:
    powers = np.linalg.svd(matrix, compute_uv=False) ** 2
    return powers.sum(), np.square(powers).sum(), powers.sum() ** 2 / np.square(powers).sum()


def test_estimates_scatter_around_the_exact_values_by_their_standard_errors(
    linear_vae: LinearVAE,
) -> None:
    around, matrix = mixed_map(linear_vae)
    found = [estimate_traces(around, probes=16, seed=seed) for seed in range(60)]
    for name, true in zip(
        ("trace", "trace_squared", "effective_dimension"), exact(matrix), strict=True
    ):
        estimates = [getattr(traces, name) for traces in found]
        values = np.array([estimate.value for estimate in estimates])
        errors = np.array([estimate.error for estimate in estimates])
        assert values.mean() == pytest.approx(true, abs=4 * values.std() / np.sqrt(60))
        assert np.sqrt(np.square(errors).mean()) == pytest.approx(values.std(), rel=0.35)
        inside = np.mean([low <= true <= high for low, high in (e.interval for e in estimates)])
        assert inside > 0.8


def test_many_probes_are_close_and_the_seed_decides(linear_vae: LinearVAE) -> None:
    around, matrix = mixed_map(linear_vae)
    trace, squared, dimension = exact(matrix)
    found = estimate_traces(around, probes=1000, seed=1)
    assert found.trace.value == pytest.approx(trace, rel=0.03)
    assert found.trace_squared.value == pytest.approx(squared, rel=0.06)
    assert found.effective_dimension.value == pytest.approx(dimension, rel=0.03)
    assert found.random_gain == pytest.approx(np.sqrt(trace / 24), rel=0.02)
    again = estimate_traces(around, probes=64, seed=3)
    assert again == estimate_traces(around, probes=64, seed=3)
    assert again != estimate_traces(around, probes=64, seed=4)


def test_an_orthonormal_decoder_uses_every_dimension(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    found = estimate_traces(decoder_map(linear_vae, linear_latent), probes=4)
    assert found.trace.value == pytest.approx(480, rel=1e-5)
    assert found.effective_dimension.value == pytest.approx(480, rel=1e-5)


def test_one_probe_and_a_constant_image_are_refused(
    linear_vae: LinearVAE, linear_latent: Latent
) -> None:
    with pytest.raises(UsageError, match=r"probes=1, .*expected at least 2"):
        estimate_traces(decoder_map(linear_vae, linear_latent), probes=1)
    still = decoder_map(linear_vae, linear_latent, features=lambda images: 0 * images)
    with pytest.raises(ZeroJacobianError):
        estimate_traces(still, probes=2)
