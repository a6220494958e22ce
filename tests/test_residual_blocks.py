"""Residual blocks that reuse memory agree with diffusers' own, and act only in inference mode."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from tiny_models import save_tiny
from torch import nn

from latentlab.loaders import load_vae
from latentlab.loaders.fast_layers import FrugalBlock, speed_up


def block(**changes: Any) -> ResnetBlock2D:
    torch.manual_seed(0)
    options = {"in_channels": 8, "out_channels": 12, "temb_channels": None, "groups": 4}
    return ResnetBlock2D(**(options | changes), non_linearity="silu").eval()


def hidden() -> torch.Tensor:
    return torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("out_channels", [8, 12], ids=["identity", "shortcut"])
def test_the_numbers_equal_diffusers_and_the_input_is_unchanged(out_channels: int) -> None:
    plain, ours = block(out_channels=out_channels), block(out_channels=out_channels)
    speed_up(nn.Sequential(ours))
    given = hidden()
    with torch.inference_mode():
        assert torch.equal(ours(given, temb=None), plain(given, temb=None))
    assert torch.equal(given, hidden())


def test_fewer_tensors_are_allocated() -> None:
    plain, ours = block(out_channels=8), block(out_channels=8)
    speed_up(nn.Sequential(ours))
    counts = []
    for one in (plain, ours):
        with torch.inference_mode(), torch.profiler.profile() as profile:
            one(hidden(), None)
        names = [event.key for event in profile.key_averages() for _ in range(event.count)]
        counts.append({name: names.count(name) for name in ("aten::div", "aten::silu_")})
    assert counts == [{"aten::div": 1, "aten::silu_": 0}, {"aten::div": 0, "aten::silu_": 2}]


def test_gradients_equal_diffusers() -> None:
    plain, ours = block(), block()
    speed_up(nn.Sequential(ours))
    gradients = []
    for one in (plain, ours):
        given = hidden().requires_grad_()
        one(given, None).square().sum().backward()
        gradients.append(given.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    "changes",
    [{"temb_channels": 4}, {"up": True}, {"down": True}, {"output_scale_factor": 2.0}],
    ids=str,
)
def test_other_blocks_are_unchanged(changes: dict[str, Any]) -> None:
    other = block(**changes)
    speed_up(nn.Sequential(other))
    assert type(other) is ResnetBlock2D


@pytest.mark.parametrize("family", ["AutoencoderKL", "AutoencoderKLFlux2"])
def test_a_models_latents_and_images_are_the_same_with_and_without(
    family: str, tmp_path: Path
) -> None:
    save_tiny(family, tmp_path)
    vae = load_vae(tmp_path, device="cpu")
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(2)) * 2 - 1
    blocks = [one for one in vae.module.modules() if isinstance(one, ResnetBlock2D)]  # type: ignore[attr-defined]
    assert {type(one) for one in blocks} == {FrugalBlock}
    found = []
    for _ in range(2):
        with torch.inference_mode():
            latents = vae.encode(images).mean
            found.append((latents, vae.decode(latents)))
        for one in blocks:
            one.__class__ = ResnetBlock2D
    assert all(torch.equal(ours, plain) for ours, plain in zip(*found, strict=True))


def test_a_copy_has_weights_of_its_own() -> None:
    ours = nn.Sequential(block())
    speed_up(ours)
    copied = deepcopy(ours).double()
    with torch.inference_mode():
        assert copied[0](hidden().double(), None).dtype == torch.float64
