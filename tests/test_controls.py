"""The same copies without the VAE: their spectra are those of pixels and of the linear model."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import CommandLine
from linear_vae import LinearVAE, smooth_image
from sklearn import decomposition

import latentlab
from latentlab.directions.factor_model import explained_shares
from latentlab.images.image import Image
from latentlab.latents import Latent, Neighborhood
from latentlab.neighborhoods.augment import change_image
from latentlab.recipes.controls import Control, draw_controls
from latentlab.recipes.sampling import SamplingPlan

COPIES = 48


@pytest.fixture(scope="module")
def drawn() -> tuple[Latent, Neighborhood, dict[str, Control]]:
    vae = LinearVAE()
    latent = latentlab.encode(vae, Image(smooth_image(64, 96), name="smooth"))
    hood = latentlab.neighborhood(vae, latent, "augment", n_samples=COPIES, seed=3)
    plan = SamplingPlan("augment", COPIES, seed=3)
    found = draw_controls(latent, hood, "smooth.png", plan, say=pytest.fail)
    return latent, hood, {control.name: control for control in found}


def test_pixels_have_the_spectrum_of_all_pixels(drawn) -> None:
    latent, hood, controls = drawn
    pixels = change_image(latent.image.pixels, hood.factors).flatten(1)
    expected = decomposition.PCA().fit(pixels.numpy().astype(np.float64)).explained_variance_ratio_
    found = controls["pixels"].spectrum.explained_variance_ratio.numpy()
    # About as many of the pixels as the latent has values, chosen at random.
    assert controls["pixels"].spectrum.n_features == pytest.approx(latent.values.numel(), rel=0.1)
    np.testing.assert_allclose(found[:10], expected[:10], atol=0.02)
    shares = explained_shares(pixels, hood)
    for name, share in controls["pixels"].shares.items():
        assert share.value == pytest.approx(shares[name].value, abs=0.02)


def test_linear_is_the_built_in_model_with_the_same_copies(drawn) -> None:
    latent, _, controls = drawn
    linear = latentlab.load_vae("linear", device="cpu", dtype="float32")
    own = latentlab.encode(linear, latent.image)
    hood = latentlab.neighborhood(linear, own, "augment", n_samples=COPIES, seed=3)
    expected = decomposition.PCA().fit(hood.samples.numpy().astype(np.float64)).explained_variance_
    found = controls["linear"].spectrum.explained_variance.numpy()
    np.testing.assert_allclose(found[: COPIES - 1], expected[: COPIES - 1], rtol=1e-4, atol=1e-6)


def test_pca_reports_them_where_there_are_copies(cli: CommandLine) -> None:
    facts = cli.pca(samples=12).facts
    assert set(facts["controls"]) == {"pixels", "linear"}
    for found in facts["controls"].values():
        assert 1 <= found["participation_ratio"] <= 11
        assert [one["model"] for one in found["additivity"]] == ["linear", "cubic", "pairwise"]
    assert cli.pca("-k", "tokens").facts["controls"] == {}
    assert "same copies as pixels" in cli("pca", cli.image, "-m", cli.model, "-n", 12).out
