"""Metrics of detail, posterior, latents and spectrum against other libraries and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft, ndimage
from skimage.color import rgb2lab

from latentlab.errors import ShapeError
from latentlab.images.colors import to_lab
from latentlab.measures import MEASURES
from latentlab.measures.base import Columns
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.measures.running import Measured, measure_images
from latentlab.metrics import dct
from latentlab.metrics.detail import gradient_products
from latentlab.metrics.divergence import divergence_by_channel
from latentlab.store.preparing import Prepared
from latentlab.testing.linear_vae import LinearVAE, smooth_image

PLAIN = Protocol("plain", crop="none", size=0)


def measured(vae: LinearVAE, *names: str, n: int = 6) -> tuple[Measured, torch.Tensor]:
    """Return what metrics find over n smooth images, and the images (n, 3, 32, 40)."""
    from latentlab.images.arrays import from_uint8, to_uint8

    levels = [to_uint8(smooth_image(seed=seed)) for seed in range(n)]
    images = [Prepared(str(k), one.numpy(), sha256=str(k)) for k, one in enumerate(levels)]
    found = measure_images(vae, images, {name: MEASURES.make(name) for name in names}, PLAIN)
    assert found.skipped_metrics == {}
    return found, from_uint8(torch.stack(levels))


def test_gradients_are_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 12, 17))
    found = gradient_products(*(torch.from_numpy(one)[None, None] for one in (x, y)))[0]
    gx, gy = (np.stack([ndimage.sobel(one, axis)[1:-1, 1:-1] for axis in (0, 1)]) for one in (x, y))
    expected = [(gx * gy).sum(), (gx * gx).sum(), (gy * gy).sum()]
    assert found.tolist() == pytest.approx(expected)


def test_lab_is_scikit_images() -> None:
    rgb = np.random.default_rng(0).random((6, 7, 3))
    found = to_lab(torch.from_numpy(rgb).movedim(-1, 0)[None])[0].movedim(0, -1)
    assert np.abs(found.numpy() - rgb2lab(rgb)).max() < 1e-3


def test_the_divergence_is_torchs() -> None:
    mean, logvar = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    normal = torch.distributions.Normal
    nats = torch.distributions.kl_divergence(
        normal(mean, (logvar / 2).exp()), normal(torch.zeros(()), torch.ones(()))
    )
    torch.testing.assert_close(
        divergence_by_channel(mean, logvar), nats.sum((2, 3)).double(), rtol=1e-5, atol=1e-5
    )


def test_the_transform_is_scipys_and_keeps_energy() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 9, 14))
    found = dct.dct2(torch.from_numpy(values))
    assert np.allclose(found.numpy(), fft.dctn(values, axes=(2, 3), norm="ortho"))
    high, whole, mean = dct.high_energy(torch.from_numpy(values), (0.25, 0.5))
    assert np.allclose(whole.numpy(), np.square(values).sum((2, 3)))
    assert np.allclose(mean.numpy(), values.sum((2, 3)) / np.sqrt(9 * 14))
    u, v = np.mgrid[:9, :14]
    above = np.square(found.numpy())[..., u + v > 0.5 * 21].sum(-1)
    assert np.allclose(high[..., 1].numpy(), above)
    kept = fft.dctn(values, axes=(2, 3), norm="ortho") * (u + v <= 0.5 * 21)
    back = fft.idctn(kept, axes=(2, 3), norm="ortho")
    assert np.allclose(dct.low_pass(torch.from_numpy(values), 0.5).numpy(), back)


def test_the_slope_of_a_planted_power_law() -> None:
    u, v = np.mgrid[:64, :64]
    radius = np.maximum(np.hypot(u, v), 1)
    rng = np.random.default_rng(0)
    fields = fft.idctn(rng.normal(size=(200, 64, 64)) / radius, axes=(1, 2), norm="ortho")
    profile = dct.radial_profile(torch.from_numpy(fields)[:, None])
    assert float(dct.slopes(profile.mean(0, keepdim=True))) == pytest.approx(-2, abs=0.1)


def test_sec_of_white_noise_is_the_share_of_cells(linear_vae: LinearVAE) -> None:
    noise = torch.randn(160, 6, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = noise * torch.linspace(0.5, 3, 6)[:, None, None] + torch.arange(6.0)[:, None, None]
    tally = MEASURES.make("sec").begin(PLAIN)
    for first in range(0, 160, 8):
        batch = Batch(linear_vae, PLAIN, torch.zeros(8, 3, 64, 64), ("",) * 8, first)
        batch.latents = noise[first : first + 8]
        tally.add(batch)
    found = tally.finish()
    for share in (0.25, 0.5):
        value = found.values[f"sec_{round(100 * share)}"]
        assert value.value == pytest.approx(dct.share_of_cells(16, 16, share), abs=0.006)
        assert value.high - value.low < 0.01
    # The same from all latents at once.
    unit = noise.double().numpy()
    unit = (unit - unit.mean((0, 2, 3), keepdims=True)) / unit.std((0, 2, 3), keepdims=True)
    energy = np.square(fft.dctn(unit, axes=(2, 3), norm="ortho"))
    u, v = np.mgrid[:16, :16]
    expected = energy[..., u + v > 0.25 * 30].sum() / energy.sum()
    assert found.values["sec_25"].value == pytest.approx(expected, abs=1e-9)


def test_posterior_metrics_of_a_known_posterior(linear_vae: LinearVAE) -> None:
    found, images = measured(linear_vae, "kl", "posterior_std", "clamped", "active_units")
    logvar = linear_vae.log_variances.double()
    expected = float(logvar.exp().mean().sqrt())
    assert found.values["posterior_std"].value == pytest.approx(expected, rel=1e-5)
    assert found.values["posterior_std"].low == pytest.approx(expected, rel=1e-5)
    assert found.values["clamp_fraction"].value == 0
    mean = linear_vae.encode(images).mean.double()
    nats = divergence_by_channel(mean, logvar[:, None, None].expand_as(mean))
    assert found.values["kl"].value == pytest.approx(float(nats.sum(1).mean()), rel=1e-5)
    assert found.curves["kl_channels"] == pytest.approx((nats.mean(0) / 80).tolist(), rel=1e-5)
    variances = mean.movedim(1, 0).flatten(1).numpy().var(1)
    assert found.values["active_units"].value == (variances > 0.01).sum()


def test_a_model_without_posterior_says_so() -> None:
    import latentlab
    from latentlab.recipes.evaluating import Question

    vae = latentlab.load_vae("linear")
    measures, left_out = Question().measures(vae)
    assert "kl" not in measures
    assert left_out["kl"] == "linear has no log-variance"


def test_edges_and_colors_of_a_decoder_that_blurs(linear_vae: LinearVAE) -> None:
    plain = linear_vae._decode
    linear_vae._decode = lambda latents: 0.5 * plain(latents)
    halved = measured(linear_vae, "edges", "color_shift")[0].values
    linear_vae._decode = plain
    whole = measured(linear_vae, "edges", "color_shift")[0].values
    assert halved["edge_retention"].value == pytest.approx(
        whole["edge_retention"].value / 2, rel=0.02
    )
    ratio = halved["gradient_retention"].value / whole["gradient_retention"].value
    assert ratio == pytest.approx(0.25, rel=0.05)


def test_latent_statistics_are_numpys(linear_vae: LinearVAE) -> None:
    found, images = measured(linear_vae, "latents", "spectrum", "low_pass")
    mean = linear_vae.encode(images).mean.double().numpy()
    assert found.values["latent_std"].value == pytest.approx(mean.std(), rel=1e-6)
    assert found.values["latent_mean"].value == pytest.approx(mean.mean(), rel=1e-6)
    low, high = found.values["latent_std"].low, found.values["latent_std"].high
    assert low < mean.std() < high
    assert found.values["low_pass_75"].value >= found.values["low_pass_25"].value
    assert sum(found.curves["latent_zigzag"]) == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 4])
def test_latent_statistics_of_few_images_have_no_interval(linear_vae: LinearVAE, n: int) -> None:
    values = measured(linear_vae, "latents", n=n)[0].values
    for name in ("latent_std", "latent_mean"):
        assert (values[name].low, values[name].high) == (None, None)
        assert "it needs 5" in values[name].note


def test_profiles_are_means_of_the_images_that_were_taken(linear_vae: LinearVAE) -> None:
    images = torch.stack([smooth_image(seed=seed) for seed in range(2)])
    whole, other = (MEASURES.make("spectrum").begin(PLAIN) for _ in range(2))
    whole.add(Batch(linear_vae, PLAIN, images, ("0", "1")))
    other.add(Batch(linear_vae, PLAIN, images, ("0", "1")))
    small = Batch(linear_vae, PLAIN, images[:1, :, :4, :4], ("2",), 2)
    other.leave_out(small, ShapeError("a small image", "a larger one", "leave it out"))
    found = other.finish()
    assert repr(found.curves) == repr(whole.finish().curves), "NaN is not equal to itself"
    assert "1 image left out: Got a small image" in found.values["latent_slope"].note


def test_the_interval_of_a_distance_of_colors_does_not_reach_below_zero() -> None:
    rows = np.array([0.05, 0.01, 0.02, 0.3, 0.02, 0.15])[:, None]
    shift = MEASURES.make("color_shift", {})
    assert Columns(rows, shift, "color_shift").interval()[0] == 0
    low, _ = Columns(rows, shift, "shift_a").interval()
    assert low is not None
    assert low < 0
