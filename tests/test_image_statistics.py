"""Each image statistic against scikit-image, SciPy or NumPy, and against a known change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.color import rgb2yiq

from latentlab.metrics.image_statistics import measure_images
from latentlab.neighborhoods.augment import change_image
from latentlab.testing.linear_vae import smooth_image


@pytest.fixture
def images() -> torch.Tensor:
    return torch.stack([0.8 * smooth_image(24, 30, seed=seed) for seed in range(3)])


@pytest.fixture
def yiq(images: torch.Tensor) -> np.ndarray:
    """Return the images (n, H, W, 3) in scikit-image's YIQ."""
    return rgb2yiq(((images + 1) / 2).double().movedim(1, -1).numpy())


def test_brightness_and_contrast_are_those_of_the_luma(
    images: torch.Tensor, yiq: np.ndarray
) -> None:
    measured = measure_images(images)
    np.testing.assert_allclose(measured["brightness"], yiq[..., 0].mean((1, 2)), atol=1e-4)
    np.testing.assert_allclose(measured["contrast"], yiq[..., 0].std((1, 2)), atol=1e-4)


def test_saturation_and_hue_are_those_of_the_chroma(images: torch.Tensor, yiq: np.ndarray) -> None:
    measured = measure_images(images)
    chroma = yiq[..., 1] + 1j * yiq[..., 2]
    np.testing.assert_allclose(measured["saturation"], np.abs(chroma).mean((1, 2)), atol=1e-3)
    angles = np.angle(chroma.mean((1, 2)), deg=True)
    np.testing.assert_allclose(measured["hue"], angles, atol=0.3)


def test_positions_are_the_center_of_mass(images: torch.Tensor, yiq: np.ndarray) -> None:
    measured = measure_images(images)
    for index, luma in enumerate(yiq[..., 0]):
        row, column = ndimage.center_of_mass(luma)
        assert float(measured["x position"][index]) == pytest.approx((column + 0.5) / 30, abs=1e-4)
        assert float(measured["y position"][index]) == pytest.approx((row + 0.5) / 24, abs=1e-4)


def test_sharpness_is_the_slope_over_the_contrast() -> None:
    columns = torch.arange(40)
    wave = torch.sin(2 * torch.pi * columns / 8).expand(1, 3, 40, 40)
    # Mean square of differences of a sine: 4 sin²(π/8) of its variance.
    sharp = measure_images(0.7 * wave)["sharpness"]
    assert float(sharp) == pytest.approx(2 * np.sin(np.pi / 8), rel=0.02)
    half = measure_images(0.2 * wave + 0.3)["sharpness"]
    assert float(half) == pytest.approx(float(sharp), rel=1e-6)


@pytest.mark.parametrize(
    ("factor", "statistic", "low", "high", "sign"),
    [
        ("brightness", "brightness", 0.8, 1.2, 1),
        ("contrast", "contrast", 0.8, 1.2, 1),
        ("saturation", "saturation", 0.8, 1.2, 1),
        ("hue", "hue", -8.0, 8.0, 1),
        ("blur", "sharpness", 0.0, 2.0, -1),
    ],
)
def test_a_statistic_follows_the_factor_of_its_name(
    factor: str, statistic: str, low: float, high: float, sign: int
) -> None:
    values = torch.linspace(low, high, 9)
    image = 0.5 * smooth_image(48, 48, seed=1)
    measured = measure_images(change_image(image, {factor: values}))[statistic]
    steps = np.diff(np.unwrap(measured, period=360 if statistic == "hue" else 1e9))
    assert (sign * steps > 0).all()


def test_hues_turn_by_as_much_as_the_image() -> None:
    image = 0.3 * smooth_image(24, 24, seed=2)
    turned = change_image(image, {"hue": torch.tensor([0.0, 7.0])})
    hues = measure_images(turned)["hue"]
    assert float(hues[1] - hues[0]) == pytest.approx(7, abs=1e-3)


def test_black_gray_and_overshooting_images_have_finite_statistics() -> None:
    extremes = torch.stack([torch.full((3, 8, 8), level) for level in (-1.0, 0.0, 1.0, 3.0)])
    measured = measure_images(extremes)
    assert all(bool(torch.isfinite(values).all()) for values in measured.values())
    assert measured["brightness"].tolist() == pytest.approx([0, 0.5, 1, 1])
    assert measured["x position"].tolist() == pytest.approx([0.5] * 4)
