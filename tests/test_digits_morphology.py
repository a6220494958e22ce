"""Slant, thickness and the rest: scikit-image's moments, drawn shapes, the published figures."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import label as connected
from scipy.stats import rankdata, spearmanr
from skimage.draw import disk
from skimage.measure import moments_central
from skimage.morphology import skeletonize as skimage_skeletonize
from skimage.transform import pyramid_expand
from sklearn.datasets import load_digits
from sklearn.metrics import mutual_info_score

from latentlab.digits.data import Digits, load_data
from latentlab.digits.factors import (
    compare_factors,
    ranks_within,
)
from latentlab.digits.measure import Codes, encode_digits
from latentlab.digits.models import DigitsConfig, build_model
from latentlab.digits.morphology import FACTORS, enlarge, measure_digits, slant_of
from latentlab.digits.skeleton import skeletonize
from latentlab.digits.tilt import find_tilt, tilt_of, within_class_spearman
from latentlab.errors import ShapeError, UsageError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
move_latent = importlib.import_module("digits_evaluation").move_latent
sort_latents = importlib.import_module("digits_ordering").sort_latents


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Return 60 of scikit-learn's digits, enlarged threefold: strokes of several pixels."""
    images = [np.kron(image, np.ones((3, 3))) / 16 for image in load_digits().images[:60]]
    return np.pad(images, ((0, 0), (4, 4), (4, 4)))


def bar(height: float, width: float, size: int = 28) -> np.ndarray:
    """Return an upright bar in the middle of a square."""
    image = np.zeros((size, size))
    rows, columns = round((size - height) / 2), round((size - width) / 2)
    image[rows : size - rows, columns : size - columns] = 1
    return image


def test_slant_is_that_of_scikit_images_moments(digits: np.ndarray) -> None:
    for image, slant in zip(digits, slant_of(digits), strict=True):
        moments = moments_central(image, order=2)  # [row order, column order]
        assert slant == pytest.approx(np.arctan2(-moments[1, 1], moments[2, 0]), abs=1e-9)


@pytest.mark.parametrize("step", [-2, -1, 1, 3])
def test_a_shear_adds_exactly_its_amount_to_the_tangent(digits: np.ndarray, step: int) -> None:
    padded = np.pad(digits, ((0, 0), (0, 0), (80, 80)))
    sheared = np.stack(
        [np.roll(padded[:, row], -step * row, axis=1) for row in range(padded.shape[1])], axis=1
    )
    difference = np.tan(slant_of(sheared)) - np.tan(slant_of(padded))
    np.testing.assert_allclose(difference, step, atol=1e-9)


def test_leaning_to_the_right_is_positive() -> None:
    slash = np.eye(20)[:, ::-1]
    found = slant_of(np.stack((slash, slash[:, ::-1])))
    np.testing.assert_allclose(found, [np.pi / 4, -np.pi / 4])


def test_a_bar_has_the_length_thickness_and_area_that_it_was_drawn_with() -> None:
    found = measure_digits(np.stack((bar(20, 2), bar(20, 4))))
    np.testing.assert_allclose(found["slant"], 0, atol=1e-9)
    np.testing.assert_allclose(found["thickness"], [2, 4], atol=0.5)
    np.testing.assert_allclose(found["area"], [40, 80], rtol=0.05)
    np.testing.assert_allclose(found["height"], 20, atol=1)
    # A line thins to within half its thickness of either end.
    np.testing.assert_allclose(found["length"], [18, 16], atol=1)
    np.testing.assert_allclose(found["width"], [1, 3], atol=0.2)


def test_width_is_measured_after_the_slant_is_undone() -> None:
    upright = np.pad(bar(20, 4), ((0, 0), (20, 20)))
    slanted = np.stack([np.roll(row, 14 - index) for index, row in enumerate(upright)])
    widths = measure_digits(np.stack((upright, slanted)))["width"]
    assert widths[1] == pytest.approx(widths[0], abs=0.1)


def test_a_disk_is_as_thick_as_its_middle() -> None:
    image = np.zeros((1, 28, 28))
    image[0][disk((14, 14), 6)] = 1
    found = measure_digits(image)
    assert found["area"][0] == pytest.approx(np.pi * 36, rel=0.06)
    assert found["length"][0] < 3
    assert 9 < found["thickness"][0] < 13


def test_an_empty_image_has_no_measures() -> None:
    found = measure_digits(np.stack((np.zeros((28, 28)), bar(10, 2))))
    assert all(np.isnan(values[0]) and np.isfinite(values[1]) for values in found.values())
    with pytest.raises(ShapeError):
        measure_digits(np.zeros((28, 28)))


def test_enlarging_is_scikit_images_pyramid(digits: np.ndarray) -> None:
    ours = enlarge(digits[:10])
    for image, large in zip(digits[:10], ours, strict=True):
        theirs = pyramid_expand(image, upscale=4, order=3) > image.max() / 2
        assert (theirs != large).mean() < 0.002


def test_skeletons_keep_connected_parts_and_are_thin(digits: np.ndarray) -> None:
    binary = enlarge(digits)
    skeletons = skeletonize(binary)
    eight = np.ones((3, 3))
    assert not (skeletons & ~binary).any()
    for image, line in zip(binary, skeletons, strict=True):
        assert connected(line, eight)[1] == connected(image, eight)[1]
        holes = [connected(~mask)[1] for mask in (image, line)]
        assert holes[0] == holes[1]
        assert not np.any(line[:-1, :-1] & line[1:, :-1] & line[:-1, 1:] & line[1:, 1:])
    theirs = np.stack([skimage_skeletonize(image) for image in binary])
    # scikit-image leaves some of the corners of staircases.
    assert skeletons.sum() == pytest.approx(theirs.sum(), rel=0.08)
    near = np.stack([dilated(line) for line in theirs])
    assert (skeletons & ~near).sum() < 0.03 * skeletons.sum()


def dilated(line: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    return binary_dilation(line, np.ones((5, 5)))


@pytest.mark.shared
def test_the_first_training_image_measures_what_morpho_mnist_published(shared: Path) -> None:
    data = load_data(str(shared / "data" / "mnist"))
    found = measure_digits(data.train.images[:1].numpy())
    published = {"slant": 0.231, "length": 50.27, "thickness": 2.46, "width": 14.5, "height": 19.8}
    for name, value in published.items():
        assert found[name][0] == pytest.approx(value, rel=0.2), name


# Latents against factors


def test_within_class_correlations_are_scipys() -> None:
    rng = np.random.default_rng(0)
    z, values = (
        rng.normal(size=(300, 4)),
        {"a": rng.normal(size=300), "b": rng.integers(3, size=300)},
    )
    labels = rng.integers(3, size=300)
    mean = torch.from_numpy(z)
    codes = Codes(mean, mean, torch.from_numpy(labels))
    found = within_class_spearman(codes, {k: v.astype(float) for k, v in values.items()})
    for row, chosen in enumerate(range(3)):
        some = labels == chosen
        for latent in range(4):
            for column, name in enumerate(values):
                expected = spearmanr(z[some, latent], values[name][some])[0]
                assert found[row, latent, column] == pytest.approx(expected)


def test_ranks_are_scipys_within_each_label() -> None:
    rng = np.random.default_rng(1)
    values, labels = rng.normal(size=(50, 2)), rng.integers(2, size=50)
    found = ranks_within(values, labels)
    for chosen in range(2):
        some = labels == chosen
        expected = (rankdata(values[some], axis=0) - 1) / (some.sum() - 1)
        np.testing.assert_allclose(found[some], expected)


def planted(count: int = 1200) -> tuple[Codes, dict[str, np.ndarray]]:
    """Return codes of which 1 is −slant and 2 is thickness, with a little noise, and factors."""
    rng = np.random.default_rng(2)
    values = {name: rng.normal(size=count) for name in FACTORS}
    labels = np.arange(count) % 10
    values["slant"] += labels  # what the label tells must not count
    z = rng.normal(size=(count, 3))
    z[:, 1] = -(values["slant"] - labels) + 0.1 * rng.normal(size=count)
    z[:, 2] = values["thickness"] + 0.1 * rng.normal(size=count)
    mean = torch.tensor(z, dtype=torch.float32)
    return Codes(mean, torch.full_like(mean, -2.0), torch.tensor(labels)), values


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return compare_factors(*planted())


def test_planted_latents_are_found_and_the_controls_find_nothing(facts: dict[str, Any]) -> None:
    codes, _ = planted()
    dimensions = facts["dimensions"]
    assert facts["tilt_dimension"] == 1
    assert dimensions[1]["rho"]["slant"] > 0.97
    assert dimensions[1]["rho_slant_worst"] > 0.95
    assert max(dimensions[latent]["rho"]["slant"] for latent in (0, 2)) < 0.15
    assert max(rho for one in dimensions for rho in one["rho_chance"].values()) < 0.2
    assert facts["gaps"]["slant"] > 0.4
    assert facts["gaps"]["thickness"] > 0.4
    assert facts["gaps"]["height"] < 0.1
    assert facts["shuffled_control"]["gaps"]["slant"] < 0.1
    assert facts["rotation_control"]["slant_gap"]["mean"] < 0.3
    assert facts["shuffled_control"]["dci"]["informativeness"] < 0.1
    posterior = torch.distributions.Normal(codes.mean, (0.5 * codes.logvar).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean(0)
    np.testing.assert_allclose([one["kl"] for one in dimensions], kl, rtol=1e-5)
    assert set(facts) >= {"dimensions", "mig", "dci", "sap", "rotation_control", "gaps"}


def test_mutual_information_with_factors_is_scikit_learns(facts: dict[str, Any]) -> None:
    codes, values = planted()
    labels = codes.labels.numpy()
    ranks = ranks_within(np.stack(list(values.values()), axis=1), labels)
    z = codes.mean.double().numpy()
    bins = [np.histogram_bin_edges(z[:, 1], 20), np.histogram_bin_edges(ranks[:, 0], 20)]
    classes = [
        np.clip(np.digitize(column, edges) - 1, 0, 19)
        for column, edges in zip((z[:, 1], ranks[:, 0]), bins, strict=True)
    ]
    # Values on an edge may fall to either side.
    found = facts["dimensions"][1]["mutual_information"]["slant"]
    assert found == pytest.approx(mutual_info_score(*classes), rel=0.02)


def test_a_factor_that_never_varies_within_a_label_is_left_out_by_name() -> None:
    codes, values = planted(300)
    labels = codes.labels.numpy()
    whole = compare_factors(codes, values)
    found = compare_factors(codes, values | {"height": labels / 7 + 0.1})
    assert found["constant_factors"] == ["height"]
    assert "height" not in found["gaps"]
    assert found["dimensions"][0]["rho"]["height"] is None
    moving = [gap for name, gap in whole["gaps"].items() if name != "height"]
    assert found["mig"] == pytest.approx(np.mean(moving))
    with pytest.raises(UsageError, match="alike"):
        compare_factors(codes, dict.fromkeys(FACTORS, np.ones(len(labels))))


@pytest.mark.slow
def test_collapsed_latents_are_no_tilt_and_take_no_part_in_rotations() -> None:
    codes, values = planted(300)
    dead = torch.randn(300, 5, generator=torch.Generator().manual_seed(0)) * 1e-3
    mean = torch.cat([codes.mean, dead], 1)
    padded = Codes(mean, torch.full_like(mean, -2.0), codes.labels)
    found = compare_factors(padded, values)
    assert found["active"] == [True] * 3 + [False] * 5
    assert found["tilt_dimension"] == 1
    # Latents of noise that are not scaled up leave the control as it is without them.
    control = compare_factors(codes, values)["rotation_control"]["mig"]["mean"]
    assert found["rotation_control"]["mig"]["mean"] == pytest.approx(control, abs=0.03)
    assert found["rotation_control"]["mig"]["mean"] < found["mig"]
    # Scaled so far down that the posterior hardly moves, the code has collapsed.
    tiny = Codes(mean * 1e-3, torch.zeros_like(mean), codes.labels)
    assert tilt_of(tiny, values["slant"]).dimension is None


def test_a_latent_is_called_the_tilt_by_chance_in_one_of_twenty() -> None:
    rng = np.random.default_rng(5)
    named = 0
    for seed in range(60):
        mean = torch.from_numpy(rng.normal(size=(200, 8)))
        codes = Codes(mean, torch.zeros_like(mean), torch.arange(200) % 10)
        named += tilt_of(codes, rng.normal(size=200), seed=seed).dimension is not None
    assert named <= 8  # 3 expected


def test_the_tilt_is_named_with_its_sign() -> None:
    rng = np.random.default_rng(3)
    images = torch.tensor(np.stack([np.roll(bar(20, 3), 0, 0) for _ in range(200)]))
    shifts = rng.uniform(-0.5, 0.5, 200)
    rows = np.arange(28) - 13.5
    for image, shift in zip(images, shifts, strict=True):
        for index, row in enumerate(rows):
            image[index] = torch.roll(image[index], round(-shift * row))
    labels = torch.arange(200) % 10
    mean = torch.tensor(np.stack((rng.normal(size=200), -shifts), axis=1), dtype=torch.float32)
    tilt = find_tilt(Codes(mean, mean, labels), images[:, None].float())
    assert (tilt.dimension, tilt.sign) == (1, -1)
    assert tilt.rho[1] > 0.95
    assert tilt.worst > 0.9


def test_sorting_puts_the_tilt_where_it_is_asked_for_and_leaning_to_the_right() -> None:
    data = load_data("digits")
    model = build_model(DigitsConfig("cvae", latent=5, hidden=(30,), size=8), seed=2).eval()
    some = data.train[:600]
    before = find_tilt(encode_digits(model, some), some.images)
    turned = sort_latents(model, some, tilt_at=3)
    after = find_tilt(encode_digits(turned, some), some.images)
    assert after.rho[3] == max(after.rho) == pytest.approx(max(before.rho), abs=1e-6)
    slant = slant_of(some.images.numpy())
    rho = within_class_spearman(encode_digits(turned, some), {"slant": slant})
    assert rho[:, 3].mean() > 0
    codes = encode_digits(turned, some)
    kl = (0.5 * (codes.mean**2 + codes.logvar.exp() - 1 - codes.logvar)).mean(0)
    rest = kl[[0, 1, 2, 4]].tolist()
    assert rest == sorted(rest, reverse=True)


def test_too_few_images_are_refused_and_subsets_are_drawn_once() -> None:
    data = load_data("digits")
    model = build_model(DigitsConfig("vae", latent=2, hidden=(8,), size=8))
    with pytest.raises(UsageError, match="at least 100"):
        compare_factors(encode_digits(model, data.test[:50]), {})
    few = data.test.draw(50, seed=1)
    assert torch.equal(few.labels, data.test.draw(50, seed=1).labels)
    assert len({tuple(image.flatten().tolist()) for image in few.images}) == 50
    assert data.test.draw(10**6) is data.test


def test_only_one_latent_is_moved() -> None:
    model = build_model(DigitsConfig("cvae", latent=3, hidden=(8,), size=8)).eval()
    frames = move_latent(model, 1, steps=5)
    z = torch.tensor([[0.0, -2.0, 0.0]])
    torch.testing.assert_close(frames[0, 7, 0], model.images(z, torch.tensor([7]))[0, 0])
    drawn = move_latent(model, 1, draws=2, seed=4, steps=5)
    rest = torch.randn(2, 3, generator=torch.Generator().manual_seed(4))
    rest[:, 1] = 2.0
    expected = model.images(rest, torch.tensor([4, 4]))[:, 0]
    torch.testing.assert_close(drawn[:, 4, -1], expected)


def test_digits_know_their_size() -> None:
    assert repr(Digits(torch.zeros(2, 1, 8, 8), torch.zeros(2))) == "Digits(2 images of 8×8)"
