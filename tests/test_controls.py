"""The same copies without the VAE: their spectra are those of pixels and of the linear model."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from command_line import SIZE, CommandLine
from sklearn import decomposition
from torch import nn

import latentlab
from latentlab.directions.factor_model import explained_shares
from latentlab.errors import UsageError
from latentlab.images.image import Image
from latentlab.latents import Latent, Neighborhood
from latentlab.loaders.random_weights import draw_weights, with_random_weights
from latentlab.loaders.tiles import tiled
from latentlab.neighborhoods.augment import change_image
from latentlab.recipes.controls import Control, draw_controls
from latentlab.recipes.sampling import SamplingPlan
from latentlab.testing.linear_vae import LinearVAE, smooth_image

COPIES = 48


@pytest.fixture(scope="module")
def drawn() -> tuple[Latent, Neighborhood, dict[str, Control]]:
    vae = LinearVAE()
    latent = latentlab.encode(vae, Image(smooth_image(64, 96), name="smooth"))
    hood = latentlab.neighborhood(vae, latent, "augment", n_samples=COPIES, seed=3)
    plan = SamplingPlan("augment", COPIES, seed=3)
    steps: set[str] = set()
    found = draw_controls(
        *(latent, hood, "smooth.png", plan),
        say=pytest.fail,
        progress=lambda what, done, total: steps.add(what),
    )
    assert steps == {"sampling augment for the controls"}  # not again what was drawn before
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
    first, second = facts["verdict"].split(". ")[:2]
    assert first.startswith("Varied were horizontal shift ±")
    ours = {one["model"]: one["value"] for one in facts["additivity"]["shares"]}
    pixels = facts["controls"]["pixels"]["additivity"][0]["value"]
    assert f"explains {100 * ours['linear']:.0f} %".replace("-", "−") in second
    assert re.search(rf"; {100 * pixels:.0f} % \([^)]*\) as pixels".replace("-", "−"), second)
    for found in facts["controls"].values():
        assert 1 <= found["participation_ratio"] <= 11
        assert found["effective_dimension"]["lower"] <= found["effective_dimension"]["value"]
        assert [one["model"] for one in found["additivity"]] == ["linear", "cubic", "pairwise"]
    assert cli.pca("-k", "tokens").facts["controls"] == {}
    assert (
        "same copies as pixels"
        in cli("pca", cli.image, "-m", cli.model, "--size", SIZE, "-n", 12).out
    )


@pytest.mark.parametrize(("count", "regressions"), [(2, 0), (7, 0), (8, 3)])
def test_so_few_copies_that_no_regression_is_possible(count: int, regressions: int) -> None:
    vae = LinearVAE()
    latent = latentlab.encode(vae, Image(smooth_image(32, 32), name="smooth"))
    hood = latentlab.neighborhood(vae, latent, "augment", n_samples=count)
    plan = SamplingPlan("augment", count)
    found = draw_controls(latent, hood, "smooth.png", plan, say=pytest.fail)
    assert [len(one.shares) for one in found] == [regressions] * 2
    assert all(one.facts()["participation_ratio"] > 0 for one in found)


def test_so_few_copies_are_reported_without_a_regression(cli: CommandLine) -> None:
    done = cli("pca", cli.image, "-m", cli.model, "--size", SIZE, "-n", 2, "--nulls", "none")
    assert done.code == 0
    line = next(line for line in done.out.splitlines() if line.startswith("same copies as pixels"))
    assert line.endswith("k90 1")


def test_random_weights_are_drawn_like_those_of_new_layers() -> None:
    vae = latentlab.load_vae("mini")
    before = {name: one.clone() for name, one in vae.module.named_parameters()}
    once, again = (with_random_weights(vae, seed=3) for _ in range(2))
    other = with_random_weights(vae, seed=4)
    for name, layer in once.module.named_modules():
        if isinstance(layer, nn.Conv2d):
            # Kaiming and He 2015 with a = √5, PyTorch's default: uniform up to 1/√fan-in.
            bound = layer.weight[0].numel() ** -0.5
            assert float(layer.weight.abs().max()) <= bound * 1.0001, name
            deviation = float(layer.weight.double().square().mean().sqrt())
            assert deviation == pytest.approx(bound / 3**0.5, rel=0.15), name
    for (name, one), two, three in zip(
        once.module.named_parameters(),
        again.module.parameters(),
        other.module.parameters(),
        strict=True,
    ):
        assert torch.equal(one, two), name
        assert one.ndim < 2 or not torch.equal(one, three), name
    for name, one in vae.module.named_parameters():
        assert torch.equal(one, before[name]), name


def test_parameters_of_no_layer_keep_their_values_in_another_order() -> None:
    module = nn.Module()
    module.scale = nn.Parameter(torch.arange(40.0))
    torch.manual_seed(0)
    draw_weights(module)
    assert not torch.equal(module.scale.data, torch.arange(40.0))
    assert torch.equal(module.scale.data.sort().values, torch.arange(40.0))


def test_controls_on_request_are_named_and_refused_where_there_are_no_copies(
    cli: CommandLine,
) -> None:
    facts = cli.pca("--controls", "random-weights", samples=12).facts
    assert list(facts["controls"]) == ["pixels", "linear", "random-weights"]
    assert "through random weights" in facts["verdict"]
    wrong = cli("pca", cli.image, "-m", cli.model, "--controls", "magic")
    assert wrong.code == 2
    assert "random-weights" in wrong.err
    assert cli("pca", cli.image, "-k", "tokens", "--controls", "random-weights").code == 2
    with pytest.raises(UsageError, match="no torch module"):
        with_random_weights(LinearVAE())
    with pytest.raises(UsageError, match="mini in tiles"):
        with_random_weights(tiled(latentlab.load_vae("mini"), tile=64, overlap=16))
