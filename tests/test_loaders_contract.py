"""What every family promises, checked on one small random-weight model of each."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers.utils import logging as diffusers_logging
from tiny_models import TINY, save_tiny

from latentlab.errors import ShapeError
from latentlab.loaders import FAMILIES, LatentVAE, load_vae

POSTERIOR = {
    "AutoencoderKL",
    "AutoencoderKLFlux2",
    "AutoencoderKLQwenImage",
    "AutoencoderKLWan",
}


def test_every_family_has_a_tiny_model() -> None:
    assert set(TINY) == set(FAMILIES)


@pytest.fixture(scope="module", params=sorted(TINY))
def vae(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LatentVAE:
    folder = tmp_path_factory.mktemp("models") / request.param
    save_tiny(request.param, folder)
    return load_vae(folder, device="cpu")


def images(batch: int = 2, height: int = 16, width: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, height, width, generator=generator) * 2 - 1


def test_family_and_name_match_the_folder(vae: LatentVAE) -> None:
    assert vae.origin.family == vae.spec.name
    assert Path(vae.origin.source).name == vae.spec.name


def test_weights_carry_their_digest(vae: LatentVAE) -> None:
    assert vae.origin.sha256
    assert all(len(digest) == 64 for digest in vae.origin.sha256.values())


def test_spec_matches_the_tiny_model(vae: LatentVAE) -> None:
    assert (vae.spec.channels, vae.spec.stride) == (4, 2)
    assert vae.spec.multiple == (4 if vae.origin.family == "AutoencoderKLFlux2" else 2)
    assert vae.spec.has_logvar == (vae.origin.family in POSTERIOR)


def test_encode_and_decode_shapes(vae: LatentVAE) -> None:
    posterior = vae.encode(images())
    assert posterior.mean.shape == (2, 4, 8, 12)
    assert vae.decode(posterior.mean).shape == (2, 3, 16, 24)


def test_logvar_exists_exactly_if_the_spec_says_so(vae: LatentVAE) -> None:
    posterior = vae.encode(images())
    if vae.spec.has_logvar:
        assert posterior.logvar is not None
        assert posterior.logvar.shape == posterior.mean.shape
    else:
        assert posterior.logvar is None


def test_encoding_is_deterministic(vae: LatentVAE) -> None:
    first, second = vae.encode(images()), vae.encode(images())
    assert torch.equal(first.mean, second.mean)


def test_a_batch_equals_its_images_one_by_one(vae: LatentVAE) -> None:
    batch = images(3)
    together = vae.encode(batch).mean
    singly = torch.cat([vae.encode(image[None]).mean for image in batch])
    torch.testing.assert_close(together, singly, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        vae.decode(together),
        torch.cat([vae.decode(latent[None]) for latent in together]),
        rtol=1e-4,
        atol=1e-5,
    )


def test_gradients_flow_through_encode(vae: LatentVAE) -> None:
    batch = images().requires_grad_()
    vae.encode(batch).mean.square().sum().backward()
    assert batch.grad is not None
    assert torch.isfinite(batch.grad).all()
    assert batch.grad.abs().max() > 0


def test_gradients_flow_through_decode(vae: LatentVAE) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    vae.decode(latents).square().sum().backward()
    assert latents.grad is not None
    assert torch.isfinite(latents.grad).all()
    assert latents.grad.abs().max() > 0


def test_decode_does_not_clamp(vae: LatentVAE) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2)) * 3
    names = dict(vae.module.named_parameters())  # type: ignore[attr-defined]
    last = [name for name in names if name.endswith("bias") and name.startswith("decoder.")]
    bias = names[last[-1] if last else "mean"]
    before = bias.clone()
    try:
        bias.add_(50)
        assert vae.decode(latents).max() > 5
    finally:
        bias.copy_(before)


def test_parameters_take_no_gradients_and_modules_are_in_eval_mode(vae: LatentVAE) -> None:
    module = vae.module  # type: ignore[attr-defined]
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_convolutions_are_channels_last(vae: LatentVAE) -> None:
    weights = [p for p in vae.module.parameters() if p.ndim == 4]  # type: ignore[attr-defined]
    assert weights
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_diffusers_logs_nothing(vae: LatentVAE, caplog: pytest.LogCaptureFixture) -> None:
    diffusers_logging.enable_propagation()
    try:
        load_vae(vae.origin.source, device="cpu", dtype="bfloat16")
    finally:
        diffusers_logging.disable_propagation()
    assert not caplog.messages


@pytest.mark.parametrize("shape", [(2, 3, 17, 16), (3, 16, 16), (1, 4, 16, 16), (1, 3, 0, 16)])
def test_encode_refuses_other_shapes(vae: LatentVAE, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="images of shape"):
        vae.encode(torch.zeros(shape))


def test_decode_refuses_other_channels(vae: LatentVAE) -> None:
    with pytest.raises(ShapeError, match="latents of shape"):
        vae.decode(torch.zeros(1, 5, 8, 8))


def test_flux2_refuses_sides_that_leave_half_a_patch(tmp_path: Path) -> None:
    save_tiny("AutoencoderKLFlux2", tmp_path)
    with pytest.raises(ShapeError, match="multiples of 4"):
        load_vae(tmp_path, device="cpu").encode(torch.zeros(1, 3, 18, 16))


def test_half_precision_returns_float32_close_to_the_full_one(
    vae: LatentVAE, tmp_path: Path
) -> None:
    half = load_vae(vae.origin.source, dtype="bfloat16", device="cpu")
    assert half.dtype == torch.bfloat16
    latents, expected = half.encode(images()).mean, vae.encode(images()).mean
    assert latents.dtype == torch.float32
    assert (latents - expected).std() < 0.1 * expected.std()
    assert half.decode(expected).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_copy_takes_images_in_float32_and_agrees(
    vae: LatentVAE, dtype: torch.dtype
) -> None:
    fast = vae.cast(dtype)
    kinds = [one.dtype for one in fast.module.parameters()]  # type: ignore[attr-defined]
    # Weight and bias of the first layer; the linear transform has no such layer.
    exact_weights = 0 if vae.origin.family == "PatchTransform" else 2
    assert kinds.count(torch.float32) == exact_weights
    assert kinds.count(dtype) == len(kinds) - exact_weights
    assert fast.image_dtype == (torch.float32 if exact_weights else dtype)
    exact, found = vae.encode(images()).mean, fast.encode(images()).mean
    assert found.dtype == torch.float32
    assert (found - exact).std() < 0.05 * exact.std()
    again = fast.cast(torch.float32)
    assert again.image_dtype == torch.float32
    assert {one.dtype for one in again.module.parameters()} == {torch.float32}  # type: ignore[attr-defined]


def test_a_deep_copy_has_a_first_layer_of_its_own(vae: LatentVAE) -> None:
    fast = vae.cast(torch.bfloat16)
    expected = fast.encode(images()).mean
    copied = deepcopy(fast)
    for one in fast.module.parameters():  # type: ignore[attr-defined]
        one.zero_()
    assert torch.equal(copied.encode(images()).mean, expected)
