"""Sprites whose factors are known, and the disentanglement of latents of images with factors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from sklearn.decomposition import PCA

from latentlab.encoding.encoder import encode
from latentlab.errors import LatentlabError, ShapeError, UsageError
from latentlab.images.arrays import to_uint8
from latentlab.images.reading import save_png
from latentlab.images.sprites import FACTORS, SHAPES, draw_factors, draw_sprites
from latentlab.neighborhoods.augment import change_image
from latentlab.recipes.codes import FREE_OF_ONE, measure_codes
from latentlab.recipes.disentangling import (
    augmented_latents,
    measure_disentanglement,
    reduce_latents,
)
from latentlab.testing.linear_vae import LinearVAE, smooth_image


@pytest.mark.parametrize(("shape", "area"), [(0, 1.6**2), (1, 0.6 * np.pi), (2, 1.8 * 1.44 / 2)])
def test_a_sprite_has_the_area_and_the_place_of_its_factors(shape: int, area: float) -> None:
    rows = np.array([[shape, scale, 0.3, 0.2, -0.3] for scale in (0.2, 0.4)])
    small, large = draw_sprites(rows, 96)[..., 0] / 255
    # Sides are two, so that a pixel has an area of 4 / 96².
    assert large.sum() * 4 / 96**2 == pytest.approx(area * 0.4**2, rel=0.01)
    assert large.sum() / small.sum() == pytest.approx(4, rel=0.02)
    if SHAPES[shape] != "triangle":
        axis = (np.arange(96) + 0.5) / 48 - 1
        assert (large.sum(0) @ axis) / large.sum() == pytest.approx(0.2, abs=0.005)
        assert (large.sum(1) @ axis) / large.sum() == pytest.approx(-0.3, abs=0.005)


def test_a_quarter_turn_of_a_sprite_is_that_of_its_image() -> None:
    rows = np.array([[2, 0.3, 0.0, 0.0, 0.0], [2, 0.3, np.pi / 2, 0.0, 0.0]])
    upright, turned = draw_sprites(rows, 48)[..., 0].astype(int)
    # Clockwise, for the second axis points down.
    assert np.abs(np.rot90(upright, -1) - turned).max() <= 1


def test_sprites_are_the_same_each_time_and_refuse_other_factors() -> None:
    factors = draw_factors(200, seed=3)
    np.testing.assert_array_equal(factors, draw_factors(200, seed=3))
    assert np.abs(np.corrcoef(factors.T) - np.eye(len(FACTORS))).max() < 0.25
    assert draw_sprites(factors[:2], 16).shape == (2, 16, 16, 3)
    with pytest.raises(ShapeError, match="shape, scale, orientation, x, y"):
        draw_sprites(factors[:, :3])
    with pytest.raises(ShapeError, match="0, 1 or 2"):
        draw_sprites(np.array([[3, 0.2, 0, 0, 0.0]]))


def test_codes_are_the_scores_of_scikit_learns_components() -> None:
    latents = torch.randn(60, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    codes, words = reduce_latents(latents)
    fitted = PCA(10).fit(latents.flatten(1).numpy())
    expected = fitted.transform(latents.flatten(1).numpy())
    np.testing.assert_allclose(np.abs(codes.numpy()), np.abs(expected), atol=1e-4)
    assert words == f"10 leading components, {100 * fitted.explained_variance_ratio_.sum():.0f} % of the variance"  # noqa: E501  # fmt: skip
    means, _ = reduce_latents(latents, "channels")
    np.testing.assert_allclose(means.numpy(), latents.double().numpy().mean((2, 3)))
    with pytest.raises(UsageError, match="components or channels"):
        reduce_latents(latents, "pixels")


class Reading(LinearVAE):
    """A model whose channels are brightness, and its place in x and in y, of an image."""

    def __init__(self) -> None:
        super().__init__(channels=3, stride=32)

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        light = (images.mean(1) + 1) / 2
        axis = torch.linspace(-1, 1, 32)
        mass = light.sum((1, 2)).clamp_min(1e-6)
        places = [(light.sum(dim) @ axis) / mass for dim in (1, 2)]
        mean = torch.stack([mass, *places], 1)[..., None, None]
        return mean, self.log_variances[:3, None, None].expand_as(mean)


@pytest.mark.slow
def test_a_code_that_reads_the_place_beats_its_rotations() -> None:
    how = {"n_samples": 400, "size": 32, "only": ["mig", "modularity"]}
    found = measure_disentanglement(Reading(), codes="channels", **how)
    assert found["protocol"]["factors"] == [*FACTORS]
    assert found["protocol"]["source"] == "sprites"
    mig, modularity = (found["metrics"][name] for name in ("mig", "modularity"))
    assert mig["value"] > mig["rotated"] + 0.1 > mig["shuffled"]
    assert modularity["value"] > modularity["rotated"]
    again = measure_disentanglement(Reading(), codes="channels", **how)
    assert again == found


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"codes": "pixels"}, "components or channels"),
        ({"only": ["psnr"]}, "one of mig"),
        ({"n_samples": 50}, "at least 100"),
        ({"n_samples": -5}, "at least 100"),
        ({"size": 35}, "Pass size 36"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_encoded(
    how: dict[str, Any], expected: str
) -> None:
    vae = LinearVAE()
    with pytest.raises(LatentlabError, match=expected):
        measure_disentanglement(vae, **how)
    assert vae.encoded == 0


def test_factors_of_an_image_are_those_of_its_augmentation(
    tmp_path: Path, linear_vae: LinearVAE
) -> None:
    photo = save_png(tmp_path / "photo.png", to_uint8(smooth_image(32, 32)).numpy())
    found = augmented_latents(linear_vae, photo, 40, side=32, seed=0)
    assert found.values.shape == (40, 6, 8, 8)
    assert found.factors.shape == (40, len(found.names))
    factors = {name: torch.from_numpy(found.factors[:, k]) for k, name in enumerate(found.names)}
    pixels = encode(linear_vae, photo, size=32).image.pixels  # type: ignore[union-attr]
    copies = change_image(pixels, {name: one.float() for name, one in factors.items()})
    torch.testing.assert_close(
        found.values, linear_vae.encode(copies.contiguous()).mean, atol=1e-3, rtol=1e-3
    )


def test_one_factor_says_that_some_scores_mean_nothing() -> None:
    rng = np.random.default_rng(0)
    factor = rng.integers(0, 4, (150, 1))
    codes = factor + 0.1 * rng.normal(size=(150, 3))
    found = measure_codes(codes, np.hstack([factor, np.ones((150, 1))]))
    assert not set(found["metrics"]) & set(FREE_OF_ONE)
    assert set(found["skipped"]["metrics"]) == set(FREE_OF_ONE)
    assert all("one factor" in why for why in found["skipped"]["metrics"].values())
    assert {"mig", "sap", "dci_informativeness"} <= set(found["metrics"])


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["sprites", "sample:flower"])
def test_the_command_scores_sprites_and_images(
    subject: str, cli: CommandLine, tmp_path: Path
) -> None:
    size = ("--size", "32", "-n", "120", "--only", "mig,modularity", "--out", tmp_path / "out")
    done = cli("metrics", subject, "-m", "linear", "--codes", "channels", *size)
    assert done.code == 0, done.err
    for text in ("axes rotated", "factors shuffled", "80 rows to train", "means of the"):
        assert text in " ".join(done.out.split()), text
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert facts["protocol"]["settings"]["dci_trees"] == 20
    assert facts["protocol"]["source"] == ("sprites" if subject == "sprites" else "augment")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["metrics"]["model"]["name"] == "linear"


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("sprites --protocol native --spread", "--protocol, --spread"),
        ("sample:flower --labels folders", "--labels"),
        ("mine.npz --size 64 -m linear", "--size, --model"),
        (". --codes channels", "--codes"),
    ],
)
def test_options_without_an_effect_are_refused(cli: CommandLine, line: str, refused: str) -> None:
    failed = cli("metrics", *line.split())
    assert failed.code == 2
    named = failed.error.split(" with ")[0].removeprefix("error: Got ").split(", ")
    assert sorted(named) == sorted(refused.split(", ")), failed.error
