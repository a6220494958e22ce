"""Checkpoints as trainers write them: sets, prefixes, foreign objects, stated scales, configs."""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import ldm_tensors, save_tiny, shake, tiny_kl
from torch import Tensor, nn

from latentlab.errors import UsageError, WeightsError
from latentlab.loaders import LatentVAE, load_vae, scales
from latentlab.loaders.configs import clean_config
from latentlab.loaders.hub_cache import choose_files
from latentlab.loaders.weights import hash_file, read_tensors

WEIGHTS = "diffusion_pytorch_model.safetensors"
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
TENSORS = ldm_tensors()


def encode(source: Path | str) -> Tensor:
    return load_vae(source, device="cpu").encode(IMAGES).mean


def raw(folder: Path, tensors: dict[str, Tensor] = TENSORS) -> Tensor:
    """Return the latents of weights in a plain file, without a scale."""
    save_file(tensors, folder / "plain.safetensors")
    return encode(f"{folder / 'plain.safetensors'}@none")


def prefixed(prefix: str, tensors: dict[str, Tensor] = TENSORS) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


# names and sets

LAYOUTS: dict[str, Any] = {
    "state_dict": {"state_dict": TENSORS, "epoch": 3},
    "model": {"model": TENSORS, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
    "module.": {"state_dict": prefixed("module.")},
    "_orig_mod.": {"state_dict": prefixed("_orig_mod.")},
    "both": {"model_state_dict": prefixed("module._orig_mod.")},
    "deep": {"state_dict": prefixed("model.vae.")},
    "vae": {"vae": TENSORS, "step": 3},
    "autoencoder": {"trainer": {"net": {"autoencoder": TENSORS}}},
    "whole model": prefixed("first_stage_model.") | {"cond_stage_model.x": torch.ones(1)},
    "discriminator": {"vae": TENSORS, "discriminator": {"main.0.weight": torch.ones(3)}},
    "losses": TENSORS | {"loss.logvar": torch.ones(1), "foundation_model.x": torch.ones(1)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_prefixes_of_trainers_are_taken_off(tmp_path: Path, layout: str) -> None:
    torch.save(LAYOUTS[layout], tmp_path / "last.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = encode(f"{tmp_path / 'last.ckpt'}@none")
    assert torch.equal(found, raw(tmp_path))


AVERAGED = {name: 1.5 * tensor for name, tensor in TENSORS.items()}
DOTLESS = {f"model_ema.{name.replace('.', '')}": tensor for name, tensor in AVERAGED.items()}
SETS: dict[str, Any] = {
    "model and ema": {"ema": AVERAGED, "model": TENSORS},
    "state_dict_ema": {"state_dict": TENSORS, "state_dict_ema": prefixed("module.", AVERAGED)},
    "ema_pytorch": prefixed("online_model.") | prefixed("ema_model.", AVERAGED),
    "latent-diffusion": {"state_dict": TENSORS | DOTLESS},
}


@pytest.mark.parametrize("kind", SETS)
def test_of_several_sets_the_trained_one_is_taken_and_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "both.pt"
    torch.save(SETS[kind], path)
    with pytest.warns(UserWarning, match=r"has 2 sets of weights.*both\.pt#ema takes the other"):
        vae = load_vae(f"{path}@none", device="cpu")
    assert torch.equal(vae.encode(IMAGES).mean, raw(tmp_path))
    assert "2 sets of weights" in vae.origin.notes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        averaged = load_vae(f"{path}#ema@none", device="cpu")
    assert torch.equal(averaged.encode(IMAGES).mean, raw(tmp_path, AVERAGED))
    assert averaged.origin.source == f"{path}#ema@none"
    assert any("ema" in note and "as asked for" in note for note in averaged.origin.notes)
    again = load_vae(path, weights="ema", normalization="none", device="cpu")
    assert torch.equal(again.encode(IMAGES).mean, averaged.encode(IMAGES).mean)


@pytest.mark.parametrize(
    "content", [{"ema": TENSORS}, prefixed("module.") | {"n_averaged": torch.tensor(7)}]
)
def test_averages_alone_are_taken_and_said(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "ema.pt")
    with pytest.warns(UserWarning, match="has only averaged weights"):
        vae = load_vae(f"{tmp_path / 'ema.pt'}@none", device="cpu")
    assert torch.equal(vae.encode(IMAGES).mean, raw(tmp_path))
    assert "only averaged weights" in vae.origin.notes[0]


def test_a_set_that_is_not_there_is_refused(tmp_path: Path) -> None:
    torch.save({"model": TENSORS}, tmp_path / "model.pt")
    with pytest.raises(UsageError, match=r"#ema for .*whose weights are model"):
        load_vae(f"{tmp_path / 'model.pt'}#ema@none")
    with pytest.raises(UsageError, match="one set of weights"):
        load_vae(f"{tmp_path / 'model.pt'}#ema", weights="model")


@pytest.mark.parametrize("family", ["AutoencoderKL", "AutoencoderDC", "AutoencoderKLWan"])
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "ema_model.vae."])
def test_prefixes_in_a_folder_of_any_family(tmp_path: Path, family: str, prefix: str) -> None:
    save_tiny(family, tmp_path)
    expected = encode(tmp_path)
    save_file(prefixed(prefix, load_file(tmp_path / WEIGHTS)), tmp_path / WEIGHTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of averaged weights alone
        assert torch.equal(encode(tmp_path), expected)


# objects beside the tensors


class Callback:
    """A class that nobody can import."""


def foreign(name: str, **fields: Any) -> Any:
    module = types.ModuleType("nobody_has_this")
    kind = type(name, (Callback,), {"__module__": module.__name__})
    setattr(module, name, kind)
    sys.modules[module.__name__] = module
    made = kind()
    vars(made).update(fields)
    return made


class Odd(dict):  # type: ignore[type-arg]
    """A mapping of its own class."""


OBJECTS: dict[str, Callable[[], Any]] = {
    "NumPy": lambda: {"best": np.float64(0.3), "losses": np.arange(3), "state_dict": TENSORS},
    "argparse": lambda: {"args": argparse.Namespace(lr=1e-4), "model": TENSORS},
    "path": lambda: {"hyper_parameters": {"root": Path("x")}, "state_dict": TENSORS},
    "callback": lambda: {"callbacks": {type(foreign("C")): 3}, "state_dict": TENSORS},
    "object": lambda: {"callbacks": [foreign("C", best=torch.ones(1))], "model": TENSORS},
    "mapping": lambda: {"state_dict": Odd(TENSORS)},
    "module": lambda: {"step": 3, "vae": _as_module(TENSORS)},
}


def _as_module(tensors: dict[str, Tensor]) -> nn.Module:
    whole = nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        part = whole
        for step in path:
            part = part._modules.setdefault(step, nn.Module())  # type: ignore[assignment]
        part.register_parameter(last, nn.Parameter(tensor))
    return whole


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", OBJECTS)
def test_tensors_beside_foreign_objects_are_read(tmp_path: Path, kind: str, zipped: bool) -> None:
    torch.save(OBJECTS[kind](), tmp_path / "a.ckpt", _use_new_zipfile_serialization=zipped)
    sys.modules.pop("nobody_has_this", None)
    assert torch.equal(encode(f"{tmp_path / 'a.ckpt'}@none"), raw(tmp_path))
    assert "nobody_has_this" not in sys.modules


class Harmful:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("call", [(print, "never"), (eval, "1"), (exec, "1"), (__import__, "os")])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_calls_is_refused(
    tmp_path: Path, call: Any, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"state_dict": TENSORS, "x": Harmful(*call)}
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    with pytest.raises(WeightsError, match="a pickle that would run code"):
        load_vae(tmp_path / "a.pt")
    assert capsys.readouterr().out == ""


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(20_000_000))
    with pytest.raises(WeightsError, match=r"MB unpack to 20 MB"):
        load_vae(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("name", "start", "words"),
    [
        ("a.gguf", b"GGUF\3\0\0\0", "a file of GGUF"),
        ("a.safetensors.bin", b"GGUF\3\0\0\0", "a file of GGUF"),
        ("flax.msgpack", b"\x81\xa7", "a file of Flax"),
        ("a.h5", b"\x89HDF\r\n", "HDF5"),
        ("a.onnx", b"\x08\x07", "ONNX"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, name: str, start: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(start + bytes(200))
    with pytest.raises(
        WeightsError, match=f"{words}.*choose a file in one of these formats|{words}"
    ):
        load_vae(tmp_path / name)


# scales


STATISTICS = torch.tensor([-1.5, 0.9, 0.2, -2.6]), torch.tensor([8.0, 5.5, 6.0, 5.0])


def _statistics(value: Tensor) -> Tensor:
    mean, deviation = (one.view(1, 4, 1, 1) for one in STATISTICS)
    return (value - mean) / deviation


PROJECT = "model:\n  target: ldm.LatentDiffusion\n  params:\n    scale_factor: {}\n"
STATED: dict[str, tuple[dict[str, Any], Callable[[Tensor], Tensor]]] = {
    "edm": (
        {"edm_mean": STATISTICS[0].view(1, 4, 1, 1), "edm_std": STATISTICS[1].view(1, 4, 1, 1)},
        lambda z: 0.5 * _statistics(z),
    ),
    "scale_factor": ({"scale_factor": torch.tensor(0.4217)}, lambda z: 0.4217 * z),
    "shift": (
        {"scaling_factor": torch.tensor(0.5), "shift_factor": torch.tensor([0.25])},
        lambda z: (z - 0.25) * 0.5,
    ),
    "statistics": (
        {"vae.latents_mean": STATISTICS[0], "vae.latents_std": STATISTICS[1]},
        _statistics,
    ),
    "arguments": ({"hyper_parameters": {"scale_factor": 0.3}}, lambda z: 0.3 * z),
}


@pytest.mark.parametrize("neighbor", ["conditioner.embedders.0.x", None])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("kind", STATED)
def test_the_scale_that_a_file_states_is_used(
    tmp_path: Path, kind: str, suffix: str, neighbor: str | None
) -> None:
    stated, formula = STATED[kind]
    if kind == "arguments" and suffix == ".safetensors":
        pytest.skip("safetensors hold tensors only")
    tensors = prefixed("vae." if kind == "statistics" else "first_stage_model.") | stated
    tensors |= {neighbor: torch.zeros(1)} if neighbor else {}
    path = tmp_path / f"whole{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(
        {"state_dict": tensors} if kind != "arguments" else tensors, path
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = load_vae(path, device="cpu")
    torch.testing.assert_close(vae.encode(IMAGES).mean, formula(raw(tmp_path)))
    assert "in the file)" in vae.origin.normalization
    assert "(sdxl, as asked for)" in load_vae(f"{path}@sdxl").origin.normalization


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_means_with_a_factor_can_be_read_in_two_ways(tmp_path: Path, factor: float) -> None:
    stated = {"latents_mean": STATISTICS[0], "latents_std": STATISTICS[1]}
    tensors = TENSORS | stated | {"scaling_factor": torch.tensor(factor)}
    save_file(tensors, tmp_path / "a.safetensors")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae = load_vae(tmp_path / "a.safetensors", device="cpu")
    torch.testing.assert_close(vae.encode(IMAGES).mean, factor * _statistics(raw(tmp_path)))
    said = any("as sdxl does, assumed; glm-image leaves" in str(one.message) for one in caught)
    assert said == ("times scaling_factor = 0.5" in vae.origin.normalization) == (factor != 1)
    config = {name: one.tolist() for name, one in stated.items()} | {"scaling_factor": factor}
    config |= {"_class_name": "AutoencoderKL"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    if factor != 1:
        other = load_vae(f"{tmp_path / 'a.safetensors'}@glm-image", device="cpu")
        torch.testing.assert_close(other.encode(IMAGES).mean, _statistics(raw(tmp_path)))


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        ("args", True),
        ("hyper_parameters.args", True),
        ("args.vae", True),
        ("vae_config", True),
        ("config.model.params", True),
        ("config.model.params.first_stage_config.params", True),
        ("args.data", False),
        ("args.model", False),
        ("config.model.params.unet_config.params", False),
        ("data.args", False),
    ],
)
def test_arguments_of_something_else_are_no_scale(tmp_path: Path, place: str, counts: bool) -> None:
    nested: Any = 0.3
    for name in reversed([*place.split("."), "scale_factor"]):
        nested = {name: nested}
    torch.save({"state_dict": prefixed("first_stage_model."), **nested}, tmp_path / "a.ckpt")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae = load_vae(tmp_path / "a.ckpt", device="cpu")
    assert vae.origin.normalization.startswith(f"(z - 0) * {0.3 if counts else 0.18215} (")
    assert any("assumed sd15" in str(one.message) for one in caught) != counts


@pytest.mark.parametrize("value", [0.0, float("nan"), [0.1] * 5])
def test_a_scale_that_makes_no_sense_is_refused(tmp_path: Path, value: Any) -> None:
    torch.save({"state_dict": TENSORS, "scale_factor": torch.tensor(value)}, tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match="scale_factor"):
        load_vae(tmp_path / "a.ckpt")


@pytest.mark.parametrize("name", ["a.yaml", "config.yaml"])
def test_the_scale_of_a_project_beside_a_checkpoint(tmp_path: Path, name: str) -> None:
    torch.save({"state_dict": TENSORS}, tmp_path / "a.ckpt")
    (tmp_path / name).write_text(PROJECT.format("0.25  # measured"))
    vae = load_vae(tmp_path / "a.ckpt", device="cpu")
    assert vae.origin.normalization == f"(z - 0) * 0.25 (model.params.scale_factor of {name})"


@pytest.mark.parametrize(
    "project",
    [
        "model:\n  nn.Upsample:\n    scale_factor: 2\n",
        "model:\n  target: x.Y\n  params:\n    up:\n      scale_factor: 2\n",
        "model:\n  params:\n    scale_factor: 2\n",
        "model:\n  target: x.Y\ndata:\n  params:\n    scale_factor: 2\n",
        "model:\n  target: x.Y\n  params:\n    - a: 1\n      scale_factor: 2\n",
    ],
)
def test_other_factors_of_a_project_are_no_scale(tmp_path: Path, project: str) -> None:
    torch.save({"state_dict": TENSORS}, tmp_path / "a.ckpt")
    (tmp_path / "config.yaml").write_text(project)
    with pytest.warns(UserWarning, match="assumed sd15"):
        load_vae(tmp_path / "a.ckpt", device="cpu")


@pytest.mark.parametrize("value", ["1.2.3", "${scale}", "0", "nan"])
def test_a_project_whose_scale_is_no_number_is_left_out(tmp_path: Path, value: str) -> None:
    torch.save({"state_dict": TENSORS}, tmp_path / "a.ckpt")
    (tmp_path / "config.yaml").write_text(PROJECT.format(value))
    with (
        pytest.warns(UserWarning, match="is no finite number other than 0, and was left out"),
        pytest.warns(UserWarning, match="assumed sd15"),
    ):
        load_vae(tmp_path / "a.ckpt", device="cpu")


@pytest.mark.parametrize("evidence", ["diffusion model", "SHA-256", "metadata"])
def test_what_the_file_shows_comes_before_a_project_beside_it(
    tmp_path: Path, evidence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, metadata = dict(TENSORS), {"format": "pt"}
    if evidence == "diffusion model":
        tensors = prefixed("first_stage_model.") | {"conditioner.embedders.0.x": torch.zeros(1)}
    if evidence == "metadata":
        metadata["modelspec.architecture"] = "stable-diffusion-xl-v1-base/vae"
    save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    if evidence == "SHA-256":
        digest = hash_file(tmp_path / "a.safetensors")
        monkeypatch.setitem(scales._PUBLISHED, digest, "sdxl")
    (tmp_path / "config.yaml").write_text(PROJECT.format("2"))
    with pytest.warns(UserWarning, match=f"config.yaml is 2, but .*{evidence}.* says sdxl"):
        vae = load_vae(tmp_path / "a.safetensors", device="cpu")
    assert vae.origin.normalization.startswith("(z - 0) * 0.13025 (sdxl, known by")
    (tmp_path / "config.yaml").write_text(PROJECT.format("0.13025"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_vae(tmp_path / "a.safetensors", device="cpu")


# a configuration beside the file


def test_a_config_in_the_metadata_of_a_file(tmp_path: Path) -> None:
    config = {"vae": {"_class_name": "AutoencoderKL", "scaling_factor": 0.7}}
    save_file(TENSORS, tmp_path / "a.safetensors", metadata={"config": json.dumps(config)})
    vae = load_vae(tmp_path / "a.safetensors", device="cpu")
    assert vae.origin.normalization == "(z - 0) * 0.7"
    assert "configured by the metadata of a.safetensors" in vae.origin.notes


@pytest.mark.parametrize("family", ["AutoencoderTiny", "AutoencoderKLWan"])
def test_files_of_other_families_with_the_config_beside_them(tmp_path: Path, family: str) -> None:
    save_tiny(family, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(encode(tmp_path / WEIGHTS), encode(tmp_path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_kl(norm_num_groups=2, scaling_factor=0.3).save_pretrained(tmp_path / "kl")  # type: ignore[operator]
    return tmp_path / "kl"


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value != "gone"}
    (folder / "config.json").write_text(json.dumps(kept))


def test_a_file_is_read_with_the_config_beside_it(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = load_vae(folder / WEIGHTS, device="cpu")
    assert torch.equal(vae.encode(IMAGES).mean, encode(folder))
    assert vae.origin.normalization == "(z - 0) * 0.3"
    assert f"configured by {folder / 'config.json'}" in vae.origin.notes
    stated = load_vae(f"{folder / WEIGHTS}@sdxl", device="cpu")
    torch.testing.assert_close(stated.encode(IMAGES).mean, encode(folder) / 0.3 * 0.13025)


def test_a_config_of_another_model_beside_a_file_is_left_out(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors")
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL", "latent_channels": 16}')
    with pytest.warns(UserWarning, match="is of another model \\(latent_channels = 16\\)"):
        assert torch.equal(encode(f"{tmp_path / 'a.safetensors'}@none"), raw(tmp_path))


def test_compvis_names_with_a_config_beside_them(tmp_path: Path) -> None:
    torch.save({"model": TENSORS}, tmp_path / "vae.ckpt")
    theirs = diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=16,
        scaling_factor=0.7,
    )
    theirs.save_config(tmp_path)
    vae = load_vae(tmp_path / "vae.ckpt", device="cpu")
    assert vae.module.config.norm_num_groups == 16  # type: ignore[attr-defined]
    assert vae.origin.normalization == "(z - 0) * 0.7"


def test_narrow_layers_without_a_config_ask_for_one(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(
        WeightsError, match=r"Put the config\.json of the model into the same folder"
    ):
        load_vae(folder / WEIGHTS)


def test_what_is_assumed_without_a_config_is_said(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors")
    with pytest.warns(UserWarning, match="assumed sd15, and 32 groups.*@none for a model of your"):
        load_vae(tmp_path / "a.safetensors")


# architectures


@pytest.mark.parametrize(("down", "up"), [((2,), ()), ((2,), (0,)), ((1, 2), (0, 2))])
def test_attention_in_any_level(tmp_path: Path, down: tuple[int, ...], up: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    blocks = {
        "down_block_types": [
            "AttnDownEncoderBlock2D" if level in down else "DownEncoderBlock2D"
            for level in range(3)
        ],
        "up_block_types": [
            "AttnUpDecoderBlock2D" if level in up else "UpDecoderBlock2D" for level in range(3)
        ],
    }
    theirs: Any = shake(diffusers.AutoencoderKL(block_out_channels=(32, 32, 64), **blocks))
    theirs.save_pretrained(tmp_path / "folder")
    torch.save({"model": compvis(theirs)}, tmp_path / "kl16.ckpt")
    file = load_vae(f"{tmp_path / 'kl16.ckpt'}@sd15", device="cpu")
    folder = load_vae(tmp_path / "folder", device="cpu")
    latents = folder.encode(IMAGES).mean
    torch.testing.assert_close(file.encode(IMAGES).mean, latents)
    torch.testing.assert_close(file.decode(latents), folder.decode(latents))


def compvis(model: Any) -> dict[str, Tensor]:
    """Return the weights of an AutoencoderKL under CompVis' names, written independently."""
    levels = len(model.config.block_out_channels)
    renamed = {}
    for name, tensor in model.state_dict().items():
        parts = name.split(".")
        if parts[1] in ("down_blocks", "up_blocks"):
            level = int(parts[2]) if parts[1] == "down_blocks" else levels - 1 - int(parts[2])
            kind = {"resnets": "block", "attentions": "attn"}.get(parts[3])
            way = parts[1].removesuffix("_blocks")
            inner = [kind, *parts[4:]] if kind else [f"{way}sample", *parts[5:]]
            parts = [parts[0], way, str(level), *inner]
        elif parts[1] == "mid_block":
            kind = "attn_1" if parts[2] == "attentions" else f"block_{int(parts[3]) + 1}"
            parts = [parts[0], "mid", kind, *parts[4:]]
        text = ".".join(parts).replace("conv_norm_out", "norm_out")
        text = text.replace("conv_shortcut", "nin_shortcut").replace(".to_out.0.", ".proj_out.")
        text = text.replace("group_norm", "norm")
        for letter in "qkv":
            text = text.replace(f".to_{letter}.", f".{letter}.")
        linear = ".attn" in text and tensor.ndim == 2
        renamed[text] = tensor[:, :, None, None].contiguous() if linear else tensor
    return renamed


def test_five_levels_are_neither_flux_nor_sd3(tmp_path: Path) -> None:
    tensors = ldm_tensors(widths=(32,) * 5, channels=16)
    save_file(tensors, tmp_path / "kl16.safetensors")
    with pytest.warns(UserWarning, match="does not say its scale to model space: assumed 1"):
        vae = load_vae(tmp_path / "kl16.safetensors", device="cpu")
    assert (vae.spec.stride, vae.spec.channels) == (16, 16)


def test_a_vq_checkpoint_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = shake(
        diffusers.VQModel(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=3,
            num_vq_embeddings=16,
            norm_num_groups=32,
        )
    )
    torch.save({"state_dict": compvis(theirs) | {"loss.x": torch.ones(1)}}, tmp_path / "vq.ckpt")
    vae = load_vae(f"{tmp_path / 'vq.ckpt'}@none", device="cpu")
    assert vae.origin.family == "VQModel"
    torch.testing.assert_close(vae.encode(IMAGES).mean, theirs.encode(IMAGES).latents)


# odd configurations


def test_statistics_may_be_nested(folder: Path) -> None:
    means, deviations = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]
    expected = (encode(f"{folder}@none") - torch.tensor(means).view(4, 1, 1)) * 0.3
    expected /= torch.tensor(deviations).view(4, 1, 1)
    edit(
        folder,
        latents_mean=[[[[one]] for one in means]],
        latents_std=[[[[one]] for one in deviations]],
    )
    torch.testing.assert_close(encode(f"{folder}@sdxl"), expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latents_mean": [0.0] * 16, "latents_std": [1.0] * 16}, "16 means for 4 latent channels"),
        ({"latents_mean": [0.0] * 4, "latents_std": [0.0] * 4}, "latents_std in .*above 0"),
        ({"latents_mean": ["a"] * 4, "latents_std": [1.0] * 4}, "latents_mean in .*finite numbers"),
        ({"scaling_factor": "0.5"}, "scaling_factor = 0.5 in .*a finite number"),
        ({"scaling_factor": [0.5]}, r"scaling_factor = \[0.5\]"),
        ({"scaling_factor": 0}, "scaling_factor = 0"),
    ],
)
def test_statistics_that_make_no_sense(folder: Path, changes: Any, words: str) -> None:
    edit(folder, **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which pipeline it belongs to
        with pytest.raises(WeightsError, match=words):
            load_vae(folder)


@pytest.mark.parametrize("option", ["latents_mean", "latents_std"])
def test_half_of_the_statistics_is_left_out_and_said(folder: Path, option: str) -> None:
    expected = encode(folder)
    edit(folder, **{option: [0.5] * 4})
    with pytest.warns(UserWarning, match=f"{option} without latents_"):
        vae = load_vae(folder, device="cpu")
    assert torch.equal(vae.encode(IMAGES).mean, expected)
    assert any(option in note for note in vae.origin.notes)


def test_clean_configurations_stay_as_they_are() -> None:
    config = {"_class_name": "X", "latents_mean": None, "shift_factor": None}
    assert clean_config(config, "here") == (config, "")


def test_null_or_no_scale(folder: Path) -> None:
    raw_latents = encode(f"{folder}@none")
    edit(folder, scaling_factor=None)
    with pytest.warns(UserWarning, match="without a published scale"):
        assert torch.equal(encode(folder), raw_latents)
    edit(folder, scaling_factor="gone")
    vae = load_vae(folder, device="cpu")
    torch.testing.assert_close(vae.encode(IMAGES).mean, raw_latents * 0.18215)
    assert "diffusers' default, because config.json states none" in vae.origin.normalization


def test_a_config_without_a_class_is_told_from_the_weights(folder: Path) -> None:
    expected = encode(folder)
    edit(folder, _class_name="gone")
    vae = load_vae(folder, device="cpu")
    assert torch.equal(vae.encode(IMAGES).mean, expected)
    assert "names no class" in vae.origin.notes[0]


def test_an_empty_config_does_not_hide_a_pipelines_vae(folder: Path) -> None:
    expected = encode(folder)
    pipeline = folder.parent / "pipeline"
    pipeline.mkdir()
    folder.rename(pipeline / "vae")
    (pipeline / "config.json").write_text("{}")
    assert torch.equal(encode(pipeline), expected)


# precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_conversion_is_noted(folder: Path, dtype: torch.dtype) -> None:
    tensors = {name: one.to(dtype) for name, one in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae = load_vae(folder, device="cpu")
    assert vae.dtype == torch.float32
    name = str(dtype).removeprefix("torch.")
    assert any(note.startswith(f"stored in {name}, converted") for note in vae.origin.notes)
    assert bool(caught) == (dtype.itemsize == 1)


def test_scaled_8_bit_weights_are_multiplied(tmp_path: Path) -> None:
    eight = torch.tensor([[1.0, -2.0]]).to(torch.float8_e4m3fn)
    save_file(
        {
            "a.weight": eight,
            "a.scale_weight": torch.tensor(0.5),
            "a.scale_input": torch.tensor(1.0),
            "scaled_fp8": torch.zeros(2),
        },
        tmp_path / "a.safetensors",
    )
    found = read_tensors(tmp_path / "a.safetensors")
    assert list(found) == ["a.weight"]
    assert found["a.weight"].tolist() == [[0.5, -1.0]]


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1, 1), (1, 1)])
def test_scales_of_output_channels_multiply_these(tmp_path: Path, shape: tuple[int, ...]) -> None:
    # As many inputs and columns as outputs, so that a wrong axis raises nothing by itself.
    weight = torch.arange(16.0).reshape(2, 2, 2, 2)
    scale = torch.tensor([0.5, 4.0][: int(np.prod(shape))])
    named = {"a.weight": weight.to(torch.float8_e4m3fn), "a.weight_scale": scale.reshape(shape)}
    save_file(named, tmp_path / "a.safetensors")
    expected = np.stack(
        [one * float(by) for one, by in zip(weight.numpy(), [*scale, *scale], strict=False)]
    )
    assert np.array_equal(read_tensors(tmp_path / "a.safetensors")["a.weight"], expected)


@pytest.mark.parametrize("shape", [(3,), (1, 4), (2, 2)])
def test_scales_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    weight = torch.ones(2, 4).to(torch.float8_e4m3fn)
    save_file({"a.weight": weight, "a.scale_weight": torch.ones(shape)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"for a.weight \(2, 4\).*each of 2 output channels"):
        read_tensors(tmp_path / "a.safetensors")


def test_integer_weights_are_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["encoder.conv_in.weight"] = tensors["encoder.conv_in.weight"].to(torch.int8)
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(WeightsError, match=r"quantized weights \(first: encoder.conv_in.weight in"):
        load_vae(folder)


@pytest.mark.parametrize("variant", ["fp16", "bf16", "other"])
def test_variants_are_chosen_by_name(folder: Path, variant: str) -> None:
    half = {name: one.half() for name, one in load_file(folder / WEIGHTS).items()}
    save_file(half, folder / f"diffusion_pytorch_model.{variant}.safetensors")
    assert not load_vae(folder).origin.notes
    chosen: LatentVAE = load_vae(folder, variant=variant)
    assert list(chosen.origin.sha256) == [f"diffusion_pytorch_model.{variant}.safetensors"]
    with pytest.raises(WeightsError, match="of the variant none-such"):
        load_vae(folder, variant="none-such")


def test_shards_of_a_variant() -> None:
    shards = [f"diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    index = "diffusion_pytorch_model.safetensors.index.fp16.json"
    assert choose_files(["config.json", index, *shards]) == ["config.json", index, *shards]
    assert choose_files([*shards, WEIGHTS]) == [WEIGHTS]
