"""Single AutoencoderKL files: names, architecture and normalization without a config.json."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import save_file
from tiny_models import ldm_tensors, tiny_flux2, tiny_kl
from torch import Tensor

from latentlab.errors import UsageError, WeightsError
from latentlab.loaders import load_vae, scales
from latentlab.loaders.ldm import read_kl_config, rename_ldm
from latentlab.loaders.weights import hash_file

FLUX1 = {
    "latent_channels": 16,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def convert_with_diffusers(tensors: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
    config = {"down_block_types": [""] * levels, "up_block_types": [""] * levels}
    return dict(convert_ldm_vae_checkpoint(tensors, config))


def save_ldm(folder: Path, name: str = "model.safetensors", **options: Any) -> Path:
    save_file(ldm_tensors(**options), folder / name)
    return folder / name


@pytest.mark.parametrize("widths", [(32, 64), (32, 32, 64), (32, 64, 64, 64)])
@pytest.mark.parametrize("quant", [True, False])
def test_names_agree_with_diffusers_converter(widths: tuple[int, ...], quant: bool) -> None:
    tensors = ldm_tensors(widths=widths, layers=2, quant=quant)
    ours = rename_ldm(tensors)
    theirs = convert_with_diffusers(tensors, len(widths))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_flux1_architecture_is_inferred_from_its_shapes() -> None:
    with torch.device("meta"):
        expected = diffusers.AutoencoderKL(
            **FLUX1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
    shapes = expected.state_dict()
    config = read_kl_config(shapes)
    assert {key: config[key] for key in FLUX1} == FLUX1
    assert sum(tensor.numel() for tensor in shapes.values()) == 83_819_683
    with torch.device("meta"):
        rebuilt = diffusers.AutoencoderKL(**config).state_dict()
    assert {key: tensor.shape for key, tensor in rebuilt.items()} == {
        key: tensor.shape for key, tensor in shapes.items()
    }


@torch.no_grad()
def test_ldm_file_computes_what_diffusers_computes(tmp_path: Path) -> None:
    path = save_ldm(tmp_path, channels=16, quant=False)
    theirs = diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    theirs.load_state_dict(convert_with_diffusers(ldm_tensors(channels=16, quant=False), 2))
    vae = load_vae(f"{path}@flux1", device="cpu")
    raw = theirs.encode(images()).latent_dist.mode()
    expected = (raw - 0.1159) * 0.3611
    torch.testing.assert_close(vae.encode(images()).mean, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        vae.decode(expected), theirs.decode(raw).sample, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("channels", "quant", "assumed", "other"),
    [(4, True, "sd15", "sdxl"), (16, False, "flux1", "sd3")],
)
def test_ambiguous_normalization_is_assumed_with_a_warning(
    tmp_path: Path, channels: int, quant: bool, assumed: str, other: str
) -> None:
    path = save_ldm(tmp_path, channels=channels, quant=quant)
    with pytest.warns(UserWarning, match=f"whether it is {assumed} or {other}: assumed {assumed}"):
        vae = load_vae(path, device="cpu")
    assert f"({assumed}, assumed; the file could be {other})" in vae.origin.normalization


@pytest.mark.parametrize(
    ("hint", "channels", "formula"),
    [
        ("sd15", 4, "(z - 0) * 0.18215"),
        ("sdxl", 4, "(z - 0) * 0.13025"),
        ("flux1", 16, "(z - 0.1159) * 0.3611"),
        ("sd3", 16, "(z - 0.0609) * 1.5305"),
    ],
)
def test_normalization_that_the_user_states(
    tmp_path: Path, hint: str, channels: int, formula: str
) -> None:
    path = save_ldm(tmp_path, channels=channels)
    vae = load_vae(f"{path}@{hint}", device="cpu")
    assert vae.origin.normalization == f"{formula} ({hint}, as asked for)"
    assert vae.origin.source == f"{path}@{hint}"
    assert vae.spec.name == "model"


def test_normalization_for_other_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"16 latent channels, .*@flux1 or @sd3"):
        load_vae(f"{save_ldm(tmp_path, channels=16)}@sdxl")


def test_unknown_normalization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"@sd4 for .*@sd15 or @sdxl"):
        load_vae(f"{save_ldm(tmp_path)}@sd4")


def test_published_file_is_recognized_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_ldm(tmp_path)
    monkeypatch.setitem(scales._PUBLISHED, hash_file(path), "sdxl")
    vae = load_vae(path, device="cpu")
    assert vae.origin.normalization == "(z - 0) * 0.13025 (sdxl, known by the file's SHA-256)"


def test_metadata_determines_the_normalization(tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    stated = {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}
    save_file(ldm_tensors(), path, metadata=stated)
    assert "sdxl, known by the file's metadata" in load_vae(path).origin.normalization


@pytest.mark.parametrize(
    ("neighbor", "channels", "expected"),
    [
        ("cond_stage_model.transformer.weight", 4, "sd15"),
        ("conditioner.embedders.1.model.weight", 4, "sdxl"),
        ("model.diffusion_model.joint_blocks.0.weight", 16, "sd3"),
        ("model.diffusion_model.double_blocks.0.weight", 16, "flux1"),
    ],
)
def test_checkpoint_of_a_whole_diffusion_model(
    tmp_path: Path, neighbor: str, channels: int, expected: str
) -> None:
    whole = {f"first_stage_model.{k}": v for k, v in ldm_tensors(channels=channels).items()}
    whole[neighbor] = torch.full((2,), float("nan"))
    save_file(whole, tmp_path / "whole.safetensors")
    vae = load_vae(tmp_path / "whole.safetensors", device="cpu")
    assert f"{expected}, known by the diffusion model" in vae.origin.normalization


def test_ckpt_with_training_leftovers(tmp_path: Path) -> None:
    tensors = ldm_tensors() | {
        "loss.logvar": torch.zeros(1),
        "model_ema.decay": torch.zeros(1),
    }
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "vae.ckpt")
    save_file(ldm_tensors(), tmp_path / "same.safetensors")
    vae = load_vae(f"{tmp_path / 'vae.ckpt'}@sd15", device="cpu")
    same = load_vae(f"{tmp_path / 'same.safetensors'}@sd15", device="cpu")
    assert torch.equal(vae.encode(images()).mean, same.encode(images()).mean)


@torch.no_grad()
def test_diffusers_layout_in_a_single_file(tmp_path: Path) -> None:
    theirs: Any = tiny_kl(block_out_channels=(32, 64), norm_num_groups=32)
    save_file(theirs.state_dict(), tmp_path / "kl.safetensors")
    vae = load_vae(f"{tmp_path / 'kl.safetensors'}@sd15", device="cpu")
    expected = theirs.encode(images()).latent_dist.mode() * 0.18215
    torch.testing.assert_close(vae.encode(images()).mean, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_flux2_file_carries_its_normalization(tmp_path: Path) -> None:
    theirs: Any = tiny_flux2(
        block_out_channels=(32, 64), decoder_block_out_channels=(32, 32), norm_num_groups=32
    )
    theirs.save_pretrained(tmp_path / "folder")
    tensors = {k: v for k, v in theirs.state_dict().items() if not k.endswith("batches_tracked")}
    save_file(tensors, tmp_path / "flux2.safetensors")
    single = load_vae(tmp_path / "flux2.safetensors", device="cpu")
    folder = load_vae(tmp_path / "folder", device="cpu")
    assert single.origin.family == "AutoencoderKLFlux2"
    assert single.origin.normalization == folder.origin.normalization
    assert torch.equal(single.encode(images()).mean, folder.encode(images()).mean)


def test_flux2_file_in_ldm_names(tmp_path: Path) -> None:
    tensors = ldm_tensors() | {"bn.running_mean": torch.randn(16), "bn.running_var": torch.ones(16)}
    tensors = {
        ("encoder." if key.startswith("quant") else "decoder." if key.startswith("post") else "")
        + key: tensor
        for key, tensor in tensors.items()
    }
    save_file(tensors, tmp_path / "ae.safetensors")
    assert load_vae(tmp_path / "ae.safetensors").origin.family == "AutoencoderKLFlux2"


def test_normalization_is_refused_where_the_file_determines_it(tmp_path: Path) -> None:
    tensors = ldm_tensors() | {"bn.running_mean": torch.randn(16), "bn.running_var": torch.ones(16)}
    save_file(tensors, tmp_path / "ae.safetensors")
    with pytest.raises(UsageError, match="out @sd15"):
        load_vae(f"{tmp_path / 'ae.safetensors'}@sd15")


def test_other_latent_channels_are_not_scaled(tmp_path: Path) -> None:
    path = save_ldm(tmp_path, channels=8)
    with pytest.warns(UserWarning, match="does not say its scale to model space: assumed 1"):
        vae = load_vae(path, device="cpu")
    assert vae.spec.channels == 8


def test_decoder_alone_is_refused(tmp_path: Path) -> None:
    tensors = {k: v for k, v in ldm_tensors().items() if k.startswith("decoder")}
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(WeightsError, match=r"without encoder\.conv_in\.weight"):
        load_vae(tmp_path / "half.safetensors")


def test_missing_tensor_is_refused(tmp_path: Path) -> None:
    tensors = ldm_tensors(channels=16)
    del tensors["decoder.mid.attn_1.q.bias"]
    save_file(tensors, tmp_path / "ae.safetensors")
    with pytest.raises(
        WeightsError, match=r"1 missing keys .*to_q.bias.* 16 latent channels: .* FLUX.1 or SD3"
    ):
        load_vae(f"{tmp_path / 'ae.safetensors'}@flux1")


def test_unet_is_named_as_such(tmp_path: Path) -> None:
    save_file({"model.diffusion_model.x.weight": torch.zeros(2)}, tmp_path / "unet.safetensors")
    with pytest.raises(WeightsError, match="a diffusion model, not like a VAE"):
        load_vae(tmp_path / "unet.safetensors")


def test_no_warning_where_nothing_is_assumed(tmp_path: Path) -> None:
    path = save_ldm(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_vae(f"{path}@sd15")
