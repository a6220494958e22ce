"""Digits models: losses against torch.distributions and NumPy, codes that may be reordered."""

from __future__ import annotations

import importlib
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from latentlab.digits.data import Digits
from latentlab.digits.figures import widest_dimensions
from latentlab.digits.measure import encode_digits, measure_losses, reconstruct_digits
from latentlab.digits.models import DigitsConfig, DigitsModel, build_model, config_from
from latentlab.digits.objective import (
    Beta,
    active_latents,
    bernoulli_nats,
    kl_nats,
    sample_posterior,
    squared_error,
    total_correlation,
)
from latentlab.errors import FileError, ShapeError, UsageError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
reorder_latents = importlib.import_module("digits_ordering").reorder_latents

KINDS = [
    DigitsConfig("autoencoder", 3, hidden=(20,), size=8),
    DigitsConfig("vae", 3, hidden=(20, 10), size=8),
    DigitsConfig("cvae", 3, hidden=(20,), size=8),
    DigitsConfig("cvae", 3, network="conv", hidden=(4, 6), size=8),
    DigitsConfig("vae", 3, network="conv", size=28),
]


def some_digits(count: int = 40, size: int = 8) -> Digits:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, size, size, generator=generator)
    return Digits(images, torch.arange(count) % 10)


@pytest.fixture(params=KINDS, ids=lambda config: f"{config.model}-{config.network}-{config.size}")
def model(request: pytest.FixtureRequest) -> DigitsModel:
    return build_model(request.param, seed=1).eval()


def test_shapes_and_ranges_are_those_promised(model: DigitsModel) -> None:
    config = model.config
    digits = some_digits(4, config.size)
    mean, logvar = model.encoder(digits.images, digits.labels)
    assert mean.shape == logvar.shape == (4, config.latent)
    logits = model.decoder(torch.zeros(4, config.latent), digits.labels)
    assert logits.shape == (4, 1, config.size, config.size)
    images = model.images(100 * torch.randn(4, config.latent), digits.labels)
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1


def test_only_the_conditional_model_looks_at_the_label(model: DigitsModel) -> None:
    digits = some_digits(6, model.config.size)
    other = (digits.labels + 1) % 10
    z = torch.randn(6, model.config.latent, generator=torch.Generator().manual_seed(2))
    same_code = torch.equal(
        model.encoder(digits.images, digits.labels)[0], model.encoder(digits.images, other)[0]
    )
    same_image = torch.equal(model.images(z, digits.labels), model.images(z, other))
    assert same_code == same_image == (model.config.model != "cvae")


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (build_model(KINDS[2], seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(3), expected)
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_configs_come_back_from_json_and_refuse_nonsense() -> None:
    for config in KINDS:
        assert config_from(asdict(config)) == config
    with pytest.raises(FileError, match="Train again"):
        config_from({**asdict(KINDS[0]), "network": "transformer"})
    with pytest.raises(FileError, match="Train again"):
        config_from({})
    for wrong in (
        {"model": "gan"},
        {"latent": 0},
        {"hidden": (0,)},
        {"network": "conv", "size": 9},
    ):
        with pytest.raises(UsageError):
            DigitsConfig(**wrong)


# Losses


def test_kl_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(2, 50, 4, generator=generator)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(kl_nats(mean, logvar), expected)


def test_reconstruction_is_the_bernoulli_likelihood_and_the_squared_error() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 1, 8, 8, generator=generator)
    images = (torch.rand(5, 1, 8, 8, generator=generator) > 0.5).float()
    likelihood = torch.distributions.Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_nats(logits, images), -likelihood)
    gray = torch.rand(5, 1, 8, 8, generator=generator)
    expected = ((1 / (1 + np.exp(-logits.numpy())) - gray.numpy()) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(squared_error(logits, gray).numpy(), expected, rtol=1e-5)


def test_total_correlation_is_chens_equation_written_out() -> None:
    generator = torch.Generator().manual_seed(2)
    z, mean, logvar = torch.randn(3, 16, 3, generator=generator)
    count = 1000
    densities = np.zeros((16, 16, 3))
    for i in range(16):
        for j in range(16):
            scale = np.exp(0.5 * logvar[j].numpy())
            densities[i, j] = norm.logpdf(z[i].numpy(), mean[j].numpy(), scale)
    whole = logsumexp(densities.sum(2), axis=1) - np.log(16 * count)
    parts = (logsumexp(densities, axis=1) - np.log(16 * count)).sum(1)
    found = float(total_correlation(z, mean, logvar, count))
    assert found == pytest.approx(float((whole - parts).mean()), rel=1e-4)


def test_total_correlation_tells_entangled_codes_from_independent_ones() -> None:
    generator = torch.Generator().manual_seed(3)
    free = torch.randn(512, 2, generator=generator)
    tied = torch.stack((free[:, 0], free[:, 0] + 0.1 * free[:, 1]), dim=1)
    small = torch.full((512, 2), -4.0)
    found = [float(total_correlation(z, z, small, 512)) for z in (free, tied)]
    # Of a normal pair with correlation ρ it is −½ ln(1 − ρ²); what differs is free of the bias.
    assert found[1] - found[0] > 1


def test_samples_have_the_posteriors_mean_and_spread() -> None:
    mean, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -2.0]])
    drawn = sample_posterior(
        mean.expand(20_000, 2), logvar.expand(20_000, 2), torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(0), (0.5 * logvar[0]).exp(), atol=0.02, rtol=0)


def test_losses_of_data_equal_a_plain_loop(model: DigitsModel) -> None:
    digits = some_digits(30, model.config.size)
    found = measure_losses(model, digits, seed=7)
    if not model.config.is_variational:
        errors = (reconstruct_digits(model, digits) - digits.images).numpy() ** 2
        assert found.total == pytest.approx(float(errors.sum((1, 2, 3)).mean()), rel=1e-5)
        return
    with torch.no_grad():
        mean, logvar = model.encoder(digits.images, digits.labels)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(7))
        logits = model.decoder(mean + (0.5 * logvar).exp() * noise, digits.labels)
        shares = torch.sigmoid(logits.double())
        ink = digits.images.double()
        nats = -(ink * shares.log() + (1 - ink) * (1 - shares).log())
    assert found.reconstruction == pytest.approx(float(nats.sum((1, 2, 3)).mean()), rel=1e-5)
    assert found.total == pytest.approx(found.reconstruction + sum(found.kl_per_dimension))
    variances = encode_digits(model, digits).mean.numpy().var(0, ddof=1)
    assert found.active_units == int((variances > 0.01).sum())


def test_active_units_follow_burdas_threshold() -> None:
    codes = torch.tensor([[-1.0], [1.0]]) * torch.tensor([0.0, 0.009, 0.011, 1.0]).sqrt()
    means = codes.repeat(500, 1)  # of these variances, but for 1000/999
    assert active_latents(means).tolist() == [False, False, True, True]


def test_beta_warms_up_anneals_or_stays() -> None:
    assert [Beta(4, 0, 4).at(epoch) for epoch in (0, 2, 4, 9)] == [0, 2, 4, 4]
    assert [Beta(1, 9, 4).at(epoch) for epoch in (0, 1, 4)] == [9, 7, 1]
    assert Beta(3).at(0) == Beta(3).at(99) == 3
    for wrong in ((-1.0,), (1.0, 2.0), (1.0, None, 3), (float("nan"),)):
        with pytest.raises(UsageError):
            Beta(*wrong)


# Order


def test_reordered_latents_change_neither_losses_nor_images(model: DigitsModel) -> None:
    digits = some_digits(20, model.config.size)
    order, signs = [2, 0, 1], [1, -1, -1]
    turned = reorder_latents(model, order, signs)
    before, after = encode_digits(model, digits), encode_digits(turned, digits)
    torch.testing.assert_close(after.mean, before.mean[:, order] * torch.tensor(signs))
    torch.testing.assert_close(after.logvar, before.logvar[:, order])
    torch.testing.assert_close(
        reconstruct_digits(turned, digits), reconstruct_digits(model, digits)
    )
    with pytest.raises(ShapeError):
        reorder_latents(model, [0, 0, 1])
    with pytest.raises(ShapeError):
        reorder_latents(model, order, [1, -1])


def test_the_widest_latents_are_those_of_most_variance() -> None:
    codes = encode_digits(build_model(KINDS[2]), some_digits())
    codes.mean[:, 1] *= 100
    expected = np.sort(np.argsort(codes.mean.numpy().var(0))[-2:])
    assert list(widest_dimensions(codes)) == expected.tolist()
