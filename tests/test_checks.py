"""check_vae names every fault that an adapter was given, and none of a sound one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from latentlab.encoding.scale import Scales, describe_scale, is_far_from_one
from latentlab.latents import LatentSpec
from latentlab.loaders import LatentVAE, load_vae, wrap_vae
from latentlab.loaders.base import ModelOrigin
from latentlab.recipes.sampling import encode_fitting
from latentlab.testing import check_vae

SPEC = LatentSpec("folded", channels=12, stride=2)
CALLS = count()


def fold(images: Tensor) -> Tensor:
    return pixel_unshuffle(images, 2)


def unfold(latents: Tensor) -> Tensor:
    return pixel_shuffle(latents, 2)


def adapter(
    encode: Callable[[Tensor], Tensor] = fold, decode: Callable[[Tensor], Tensor] = unfold
) -> LatentVAE:
    return wrap_vae(encode=encode, decode=decode, spec=SPEC)


def overwriting(images: Tensor) -> Tensor:
    return fold(images.mul_(0.5))


def drawing(latents: Tensor) -> Tensor:
    return unfold(latents + 1e-3 * next(CALLS))


def averaging(images: Tensor) -> Tensor:
    return fold(images - images.mean())


def detached(images: Tensor) -> Tensor:
    return fold(images.detach())


def broken(latents: Tensor) -> Tensor:
    raise RuntimeError("no such layer")


FAULTS = {
    "shape of encode": (
        adapter(lambda x: pixel_unshuffle(x, 4)),
        "encode raised ShapeError: Got (2, 48, 8, 8) from encode",
    ),
    "NaN of encode": (adapter(lambda x: fold(x) / 0), "NaN or infinite numbers in its mean"),
    "exception": (adapter(decode=broken), "decode raised RuntimeError: no such layer"),
    "range 0 to 1": (adapter(decode=lambda z: unfold(z) / 2 + 0.5), "return 2 * images - 1"),
    "range 0 to 255": (adapter(decode=lambda z: unfold(z) * 127.5), "expected about -1 to 1"),
    "NaN of decode": (adapter(decode=lambda z: unfold(z).log()), "decode returns NaN or infinite"),
    "in place": (adapter(overwriting), "encode overwrites its input"),
    "random": (adapter(decode=drawing), "decode gives another result for the same input"),
    "batch": (adapter(averaging), "encode gives an image another result beside others"),
    "detached": (adapter(detached), "encode passes no gradients"),
    "constant": (
        adapter(decode=lambda z: 0 * unfold(z) - 0.5),
        "decode has gradients that are all zero",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str) -> None:
    vae, words = FAULTS[fault]
    report = check_vae(vae, photos(32))
    assert not report.ok
    assert [problem for problem in report.problems if words in problem], str(report)
    assert f"wrong: {report.problems[0]}" in str(report)


def photos(side: int) -> Tensor:
    """Return two images of smooth noise."""
    noise = torch.randn(2, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(noise, scale_factor=4, mode="bilinear").clamp(-1, 1)


class Lying(LatentVAE):
    """A VAE whose spec promises a log-variance and other shapes than it returns."""

    def _encode(self, images: Tensor) -> tuple[Tensor, None]:
        return fold(images)[:, :6], None

    def _decode(self, latents: Tensor) -> Tensor:
        return unfold(latents)


def test_a_spec_that_lies_is_named() -> None:
    spec = LatentSpec("lying", channels=12, stride=2, has_logvar=True)
    origin = ModelOrigin("lying", "lying")
    vae = Lying(spec, origin, device=torch.device("cpu"), dtype=torch.float32)
    problems = " ".join(check_vae(vae).problems)
    assert "returns no log-variance, but the spec says has_logvar=True" in problems
    assert "a mean of shape (2, 6, 32, 33): expected (2, 12, 32, 33)" in problems


def test_a_sound_adapter_has_no_problems_and_remarks_are_none() -> None:
    report = check_vae(adapter())
    assert report.ok
    assert report.remarks == ()
    assert str(report) == "folded: no problem"


def test_scale_and_a_poor_reconstruction_are_remarks() -> None:
    vae = adapter(lambda x: fold(x) * 0.05, lambda z: unfold(-z / 0.05))
    report = check_vae(vae)
    assert report.ok
    assert "far from 1" in report.remarks[0]
    assert "dB PSNR: trained models reach 20 dB" in report.remarks[1]


def test_the_built_in_models_are_sound() -> None:
    for name in ("mini", "linear"):
        assert check_vae(load_vae(name, device="cpu")).problems == ()


def test_a_factor_that_gives_unit_scale_is_proposed() -> None:
    assert is_far_from_one(0.2)
    assert not is_far_from_one(0.5)
    assert "(× 5 would give 1)" in describe_scale(0.2)
    assert "would give" not in describe_scale(0.0)


@pytest.mark.parametrize(("scale", "leaves_out"), [(1.0, False), (2.0, True)])
def test_a_normalization_is_left_out_only_where_there_is_one(
    scale: float, leaves_out: bool
) -> None:
    faint = wrap_vae(
        encode=lambda x: fold(x) * 0.01, decode=lambda z: unfold(z / 0.01), spec=SPEC, scale=scale
    )
    (remark,) = check_vae(faint).remarks
    said: list[str] = []
    encode_fitting(faint, "sample:flower", 32, said.append)
    scales = Scales(said.append)
    encode_fitting(faint, "sample:flower", 32, scales=scales)
    for line in (remark, *said):
        assert "far from 1" in line
        assert ("@none leaves it out" in line) == leaves_out
    assert len(said) == 2
