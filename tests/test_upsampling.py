"""Doubling and convolving in one step equals doing one after the other."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from latentlab.loaders import fast_layers
from latentlab.loaders.fast_layers import PhasedUpsample, convolve_doubled, speed_up


def layer(**changes: Any) -> Upsample2D:
    torch.manual_seed(0)
    return Upsample2D(**({"channels": 6, "use_conv": True, "out_channels": 5} | changes)).eval()


def images(height: int = 4, width: int = 7) -> Tensor:
    return torch.randn(2, 6, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 7)], ids=str)
def test_the_numbers_equal_diffusers(size: tuple[int, int]) -> None:
    plain = layer().double()
    given = images(*size).double()
    with torch.no_grad():
        expected = plain(given)
        found = convolve_doubled(given, plain.conv.weight, plain.conv.bias)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.fixture
def from_one_pixel_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_layers, "SMALLEST", 1)


@pytest.mark.usefixtures("from_one_pixel_on")
def test_16_bits_are_rounded_a_little_more_and_float32_is_unchanged() -> None:
    plain, ours = layer(), layer()
    speed_up(nn.Sequential(ours))
    assert type(ours) is PhasedUpsample
    given = images(32, 32)
    with torch.inference_mode():
        exact = plain(given)
        assert torch.equal(ours(given), exact)
        usual = plain.bfloat16()(given.bfloat16())
        found = ours.bfloat16()(given.bfloat16())
    assert found.dtype == torch.bfloat16
    assert not torch.equal(found, usual)
    errors = [float((some.float() - exact).std() / exact.std()) for some in (found, usual)]
    assert errors[0] < 1.5 * errors[1] < 0.01


@pytest.mark.usefixtures("from_one_pixel_on")
def test_outside_of_inference_and_for_a_given_size_nothing_changes() -> None:
    plain, ours = layer().bfloat16(), layer().bfloat16()
    speed_up(nn.Sequential(ours))
    given = images().bfloat16()
    assert torch.equal(ours(given), plain(given))
    with torch.inference_mode():
        assert torch.equal(ours(given, output_size=(9, 15)), plain(given, output_size=(9, 15)))
        assert not torch.equal(ours(given, output_size=None), plain(given))
        copied = deepcopy(ours)
        ours.conv.weight.zero_()
        assert float(copied(given).abs().max()) > 0


def test_small_images_are_doubled_the_usual_way() -> None:
    plain, ours = layer().bfloat16(), layer().bfloat16()
    speed_up(nn.Sequential(ours))
    with torch.inference_mode():
        assert torch.equal(ours(images().bfloat16()), plain(images().bfloat16()))


@pytest.mark.parametrize(
    "changes",
    [
        {"use_conv": False, "out_channels": 6},
        {"use_conv": False, "use_conv_transpose": True},
        {"kernel_size": 5, "padding": 2},
        {"interpolate": False},
        {"bias": False},
        {"norm_type": "ln_norm", "eps": 1e-5, "elementwise_affine": True},
        {"name": "other"},
    ],
    ids=str,
)
def test_other_layers_are_unchanged(changes: dict[str, Any]) -> None:
    other = layer(**changes)
    speed_up(nn.Sequential(other))
    assert type(other) is Upsample2D
