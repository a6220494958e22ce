"""What every family promises, checked on one small random-weight model of each."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers.models import autoencoders
from diffusers.utils import logging as diffusers_logging
from tiny_families import SIZES
from tiny_models import TINY, save_tiny

from latentlab.errors import ShapeError, WeightsError
from latentlab.loaders import FAMILIES, LatentVAE, load_vae
from latentlab.loaders.refused import REFUSED
from latentlab.testing import check_vae

NO_POSTERIOR = {
    *("AutoencoderDC", "AutoencoderTiny", "PatchTransform", "TAESD"),
    *("AutoencoderKLCosmos", "AutoencoderKLKVAEVideo", "AutoencoderRAE", "VQModel"),
}
INEXACT = {
    *("AutoencoderKLCosmos", "AutoencoderKLKVAEVideo", "AutoencoderRAE", "Kandinsky6SRVAE"),
    "PatchTransform",
}
"""Families without a first layer that computes in float32."""
ONLY_SIDE = {"AutoencoderRAE": 16}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*published scale:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*scale latents differently:UserWarning"),
]


def test_every_family_has_a_tiny_model() -> None:
    assert set(TINY) == set(FAMILIES)


def test_every_class_of_diffusers_is_added_or_refused() -> None:
    classes = {name for name in dir(autoencoders) if isinstance(getattr(autoencoders, name), type)}
    unknown = classes - set(FAMILIES) - set(REFUSED)
    assert not unknown, f"unknown class: add or refuse {', '.join(sorted(unknown))}"
    assert len(classes) >= 40
    assert not set(REFUSED) & set(FAMILIES)
    assert set(REFUSED) <= classes


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_a_class_without_images_is_refused_in_one_sentence(family: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": family}))
    with pytest.raises(WeightsError) as refusal:
        load_vae(tmp_path, device="cpu")
    assert f"{family}, {REFUSED[family]}, but expected an image autoencoder" in str(refusal.value)


@pytest.fixture(scope="module", params=sorted(TINY))
def vae(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LatentVAE:
    folder = tmp_path_factory.mktemp("models") / request.param
    save_tiny(request.param, folder)
    return load_vae(folder, device="cpu")


def images(vae: LatentVAE, batch: int = 2) -> torch.Tensor:
    """Return images of 8×12 cells, or of the only size that the model takes."""
    height, width = (vae.only_side or cells * vae.spec.stride for cells in (8, 12))
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, height, width, generator=generator) * 2 - 1


def latents(vae: LatentVAE, seed: int = 1, batch: int = 1) -> torch.Tensor:
    """Return random latents of the shape that :func:`images` have."""
    cells = [side // vae.spec.stride for side in images(vae).shape[2:]]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, vae.spec.channels, *cells, generator=generator)


def test_family_and_name_match_the_folder(vae: LatentVAE) -> None:
    assert vae.origin.family == vae.spec.name
    assert Path(vae.origin.source).name == vae.spec.name


def test_check_vae_finds_nothing_wrong(vae: LatentVAE) -> None:
    assert check_vae(vae, images(vae)).problems == ()


def test_weights_carry_their_digest(vae: LatentVAE) -> None:
    assert vae.origin.sha256
    assert all(len(digest) == 64 for digest in vae.origin.sha256.values())


def test_spec_matches_the_tiny_model(vae: LatentVAE) -> None:
    family = vae.origin.family
    assert (vae.spec.channels, vae.spec.stride) == SIZES.get(family, (4, 2))
    assert vae.only_side == ONLY_SIDE.get(family)
    multiple = 4 if family == "AutoencoderKLFlux2" else vae.only_side or 2
    assert vae.spec.multiple == multiple
    assert vae.spec.has_logvar == (family not in NO_POSTERIOR)


def test_encode_and_decode_shapes(vae: LatentVAE) -> None:
    mean = vae.encode(images(vae)).mean
    assert mean.shape == latents(vae, batch=2).shape
    assert vae.decode(mean).shape == images(vae).shape


def test_logvar_exists_exactly_if_the_spec_says_so(vae: LatentVAE) -> None:
    posterior = vae.encode(images(vae))
    if vae.spec.has_logvar:
        assert posterior.logvar is not None
        assert posterior.logvar.shape == posterior.mean.shape
    else:
        assert posterior.logvar is None


def test_encoding_is_deterministic(vae: LatentVAE) -> None:
    first, second = vae.encode(images(vae)), vae.encode(images(vae))
    assert torch.equal(first.mean, second.mean)


def test_a_batch_equals_its_images_one_by_one(vae: LatentVAE) -> None:
    batch = images(vae, 3)
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
    batch = images(vae).requires_grad_()
    vae.encode(batch).mean.square().sum().backward()
    assert batch.grad is not None
    assert torch.isfinite(batch.grad).all()
    assert batch.grad.abs().max() > 0


def test_gradients_flow_through_decode(vae: LatentVAE) -> None:
    given = latents(vae).requires_grad_()
    vae.decode(given).square().sum().backward()
    assert given.grad is not None
    assert torch.isfinite(given.grad).all()
    assert given.grad.abs().max() > 0


def test_decode_does_not_clamp(vae: LatentVAE) -> None:
    names = dict(vae.module.named_parameters())  # type: ignore[attr-defined]
    last = [name for name in names if name.endswith("bias") and name.startswith("decoder")]
    bias = names[last[-1] if last else "mean"]
    before = bias.clone()
    try:
        bias[0].add_(50)  # of all biases alike, the sum of wavelets may be nothing
        assert vae.decode(3 * latents(vae, 2)).abs().max() > 5
    finally:
        bias.copy_(before)


def test_parameters_take_no_gradients_and_modules_are_in_eval_mode(vae: LatentVAE) -> None:
    module = vae.module  # type: ignore[attr-defined]
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_convolutions_are_channels_last(vae: LatentVAE) -> None:
    weights = [p for p in vae.module.parameters() if p.ndim == 4]  # type: ignore[attr-defined]
    video = [p for p in vae.module.parameters() if p.ndim == 5]  # type: ignore[attr-defined]
    assert weights or video
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_diffusers_logs_nothing(vae: LatentVAE, caplog: pytest.LogCaptureFixture) -> None:
    diffusers_logging.enable_propagation()
    try:
        load_vae(vae.origin.source, device="cpu", dtype="bfloat16")
    finally:
        diffusers_logging.disable_propagation()
    assert not caplog.messages


@pytest.mark.parametrize("shape", [(2, 3, 17, 16), (3, 16, 16), (1, 5, 16, 16), (1, 3, 0, 16)])
def test_encode_refuses_other_shapes(vae: LatentVAE, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="images of shape"):
        vae.encode(torch.zeros(shape))


def test_decode_refuses_other_channels(vae: LatentVAE) -> None:
    with pytest.raises(ShapeError, match="latents of shape"):
        vae.decode(torch.zeros(1, vae.spec.channels + 1, 8, 8))


def test_flux2_refuses_sides_that_leave_half_a_patch(tmp_path: Path) -> None:
    save_tiny("AutoencoderKLFlux2", tmp_path)
    with pytest.raises(ShapeError, match="multiples of 4"):
        load_vae(tmp_path, device="cpu").encode(torch.zeros(1, 3, 18, 16))


def test_half_precision_returns_float32_close_to_the_full_one(
    vae: LatentVAE, tmp_path: Path
) -> None:
    half = load_vae(vae.origin.source, dtype="bfloat16", device="cpu")
    assert half.dtype == torch.bfloat16
    found, expected = half.encode(images(vae)).mean, vae.encode(images(vae)).mean
    assert found.dtype == torch.float32
    assert (found - expected).std() < 0.1 * expected.std()
    assert half.decode(expected).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_copy_takes_images_in_float32_and_agrees(
    vae: LatentVAE, dtype: torch.dtype
) -> None:
    if (vae.origin.family, dtype) == ("AutoencoderVidTok", torch.float16):
        pytest.skip("a CPU has no float16 pooling")
    fast = vae.cast(dtype)
    kinds = [one.dtype for one in fast.module.parameters()]  # type: ignore[attr-defined]
    is_exact = vae.origin.family not in INEXACT
    # Weight and bias of the first layer; Mochi's Fourier features have none.
    exact_weights = 2 if is_exact and vae.origin.family != "AutoencoderKLMochi" else 0
    assert kinds.count(torch.float32) == exact_weights
    assert kinds.count(dtype) == len(kinds) - exact_weights
    assert fast.image_dtype == (torch.float32 if is_exact else dtype)
    exact, found = vae.encode(images(vae)).mean, fast.encode(images(vae)).mean
    assert found.dtype == torch.float32
    assert (found - exact).std() < 0.05 * exact.std()
    again = fast.cast(torch.float32)
    assert again.image_dtype == torch.float32
    assert {one.dtype for one in again.module.parameters()} == {torch.float32}  # type: ignore[attr-defined]


def test_a_deep_copy_has_a_first_layer_of_its_own(vae: LatentVAE) -> None:
    fast = vae.cast(torch.bfloat16)
    expected = fast.encode(images(vae)).mean
    copied = deepcopy(fast)
    for one in fast.module.parameters():  # type: ignore[attr-defined]
        one.zero_()
    assert torch.equal(copied.encode(images(vae)).mean, expected)


# What a library makes when it is imported must have values, whoever imports it first.
LOAD_ALL = """
import sys, latentlab
for folder in sys.argv[1:]:
    try:
        latentlab.load_vae(folder)
    except Exception as error:
        print(folder.rpartition("/")[2], error)
"""


@pytest.mark.slow
def test_every_family_loads_where_nothing_was_imported_before(tmp_path: Path) -> None:
    for name in TINY:
        save_tiny(name, tmp_path / name)
    folders = [str(tmp_path / name) for name in TINY]
    found = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, *folders], capture_output=True, text=True, check=True
    )
    assert found.stdout == ""
