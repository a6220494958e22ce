"""TAESD's own checkpoints: against diffusers' AutoencoderTiny, and TAEF2's real weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny, taesd_shapes, tiny_taesd, tiny_tiny
from torch import Tensor

from latentlab.errors import WeightsError
from latentlab.loaders import load_vae
from latentlab.loaders.taesd import TAESD


def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def save_as_taesd(tiny: Any, folder: Path) -> tuple[Path, Path]:
    """Write AutoencoderTiny's halves under TAESD's names, whose decoder counts from one."""
    paths = folder / "a.safetensors", folder / "b.safetensors"
    for path, half, first in zip(paths, (tiny.encoder, tiny.decoder), (0, 1), strict=True):
        renamed = {}
        for key, tensor in half.state_dict().items():
            _, number, rest = key.split(".", 2)
            renamed[f"{int(number) + first}.{rest}"] = tensor
        save_file(renamed, path)
    return paths


@pytest.fixture
def tiny() -> Any:
    sizes = {
        "encoder_block_out_channels": (8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8),
        "num_encoder_blocks": (1, 3, 2),
        "num_decoder_blocks": (2, 3, 1),
    }
    return tiny_tiny(**sizes)


@torch.no_grad()
def test_pair_computes_what_autoencoder_tiny_computes(tiny: Any, tmp_path: Path) -> None:
    vae = load_vae(save_as_taesd(tiny, tmp_path), device="cpu")
    assert (vae.spec.stride, vae.spec.channels) == (4, 4)
    latents = vae.encode(images()).mean
    torch.testing.assert_close(latents, tiny.encode(images()).latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(vae.decode(latents), tiny.decode(latents).sample, rtol=0, atol=1e-5)


@torch.no_grad()
def test_single_file_of_autoencoder_tiny_loads_without_config(tiny: Any, tmp_path: Path) -> None:
    save_file(tiny.state_dict(), tmp_path / "taef9.safetensors")
    vae = load_vae(tmp_path / "taef9.safetensors", device="cpu")
    assert vae.spec.name == "taef9"
    torch.testing.assert_close(
        vae.encode(images()).mean, tiny.encode(images()).latents, rtol=0, atol=1e-5
    )


@torch.no_grad()
def test_both_halves_in_one_file(tmp_path: Path) -> None:
    module = tiny_taesd()
    save_file(module.state_dict(), tmp_path / "both.safetensors")
    vae = load_vae(str(tmp_path / "both.safetensors"), device="cpu")
    expected = module.encoder((images() + 1) / 2)
    torch.testing.assert_close(vae.encode(images()).mean, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_pool_branch_is_group_norm_between_pointwise_convolutions(tmp_path: Path) -> None:
    module: Any = save_tiny("TAESD", tmp_path)
    vae = load_vae(tmp_path, device="cpu")
    plain = TAESD(taesd_shapes(pooled=False))
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if ".pool." not in k})
    hidden = torch.randn(1, 8, 4, 6, generator=torch.Generator().manual_seed(1))
    weights = module.encoder[3].pool.state_dict()
    widened = torch.einsum("oi,bihw->bohw", weights["0.weight"][:, :, 0, 0], hidden)
    grouped = widened.view(1, 4, -1)
    centered = grouped - grouped.mean(-1, keepdim=True)
    normal = (centered / (grouped.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()).view_as(
        widened
    )
    scaled = normal * weights["1.weight"][:, None, None] + weights["1.bias"][:, None, None]
    pooled = torch.einsum("oi,bihw->bohw", weights["3.weight"][:, :, 0, 0], scaled.clamp(min=0))
    block = vae.module.encoder[3]  # type: ignore[attr-defined]
    torch.testing.assert_close(
        block(hidden), plain.encoder[3](hidden + pooled), rtol=1e-4, atol=1e-5
    )


def test_pair_in_either_order_and_as_one_string(tmp_path: Path) -> None:
    save_tiny("TAESD", tmp_path / "small")
    encoder, decoder = sorted((tmp_path / "small").iterdir(), reverse=True)
    expected = load_vae(tmp_path / "small", device="cpu").encode(images()).mean
    for source in ((encoder, decoder), (decoder, encoder), f"{decoder},{encoder}"):
        vae = load_vae(source, device="cpu")
        assert vae.spec.name == "small"
        assert torch.equal(vae.encode(images()).mean, expected)
    assert load_vae(vae.origin.source, device="cpu").origin == vae.origin


def test_encoder_without_decoder_is_refused(tmp_path: Path) -> None:
    save_tiny("TAESD", tmp_path)
    with pytest.raises(WeightsError, match=r"only the encoder, .*both halves"):
        load_vae(tmp_path / "tiny_encoder.safetensors")


def test_two_encoders_are_refused(tmp_path: Path) -> None:
    save_tiny("TAESD", tmp_path)
    encoder = tmp_path / "tiny_encoder.safetensors"
    with pytest.raises(WeightsError, match="the encoder and the decoder"):
        load_vae((encoder, encoder))


def test_halves_of_different_models_do_not_fit(tmp_path: Path) -> None:
    save_tiny("TAESD", tmp_path)
    other = TAESD(taesd_shapes(channels=6))
    save_file(other.decoder.state_dict(), tmp_path / "tiny_decoder.safetensors")
    with pytest.raises(WeightsError, match="returns 4 channels at stride 2, the decoder takes 6"):
        load_vae(tmp_path)


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    save_tiny("TAESD", tmp_path)
    path = tmp_path / "tiny_encoder.safetensors"
    tensors = load_file(path)
    del tensors["3.conv.2.weight"]
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"no TAESD can be built .*3\.conv\.2\.weight"):
        load_vae(tmp_path)


def read_photo(path: Path) -> Tensor:
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
    return pixels.permute(2, 0, 1)[None] / 127.5 - 1


@pytest.mark.shared
@torch.no_grad()
def test_taef2_reconstructs_a_photo(shared: Path) -> None:
    vae = load_vae(shared / "models/taef2", device="cpu")
    assert (vae.spec.name, vae.spec.channels, vae.spec.stride) == ("taef2", 32, 8)
    photo = read_photo(shared / "data/photos/n01443537_goldfish.jpg")
    latents = vae.encode(photo).mean
    error = (vae.decode(latents).clamp(-1, 1) - photo) / 2
    assert -10 * torch.log10(error.square().mean()) >= 26
    assert 0.5 < latents.std() < 1.5


@pytest.mark.shared
@torch.no_grad()
def test_taef2_from_one_file_in_diffusers_names_is_the_same(shared: Path, tmp_path: Path) -> None:
    folder = shared / "models/taef2"
    both = {}
    for half, first in (("encoder", 0), ("decoder", 1)):
        tensors = torch.load(folder / f"taef2_{half}.pth", weights_only=True)
        for key, tensor in tensors.items():
            number, _, rest = key.partition(".")
            both[f"{half}.layers.{int(number) - first}.{rest}"] = tensor
    save_file(both, tmp_path / "taef2.safetensors")
    single, pair = load_vae(tmp_path / "taef2.safetensors"), load_vae(folder)
    batch = images()[..., :16]
    assert torch.equal(single.encode(batch).mean, pair.encode(batch).mean)
