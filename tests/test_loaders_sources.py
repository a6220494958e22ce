"""The sources of models, and one clear line for everything that can be wrong with them."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny, tiny_tiny

import latentlab.loaders.hub as hub
from latentlab.errors import (
    LatentlabError,
    ModelError,
    ModelNotFoundError,
    ShapeError,
    UsageError,
    WeightsError,
)
from latentlab.latents import LatentSpec, Posterior
from latentlab.loaders import LatentVAE, load_vae, wrap_vae
from latentlab.loaders.catalogue import CATALOGUE
from latentlab.loaders.device import choose_device
from latentlab.loaders.weights import read_tensors

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny("AutoencoderKL", tmp_path / "kl")
    return tmp_path / "kl"


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, **changes: torch.Tensor) -> None:
    save_file(load_file(folder / WEIGHTS) | changes, folder / WEIGHTS)


def encode(vae: LatentVAE) -> torch.Tensor:
    return vae.encode(torch.linspace(-1, 1, 768).view(1, 3, 16, 16)).mean


def test_importing_the_package_does_not_import_diffusers() -> None:
    code = (
        "import sys, latentlab.loaders, latentlab.loaders.load; print('diffusers' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_unknown_attribute_of_the_package() -> None:
    import latentlab.loaders as loaders

    with pytest.raises(AttributeError, match="no attribute 'load_model'"):
        _ = loaders.load_model  # type: ignore[attr-defined]


# sources


def test_pipeline_folder_gives_its_vae_and_its_name(tmp_path: Path) -> None:
    save_tiny("AutoencoderKL", tmp_path / "my-sd" / "vae")
    for source in (tmp_path / "my-sd", tmp_path / "my-sd" / "vae", str(tmp_path / "my-sd")):
        assert load_vae(source).spec.name == "my-sd"


def test_weights_in_the_old_pickle_format(folder: Path) -> None:
    expected = encode(load_vae(folder))
    torch.save(load_file(folder / WEIGHTS), folder / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    assert torch.equal(encode(load_vae(folder)), expected)


def test_only_a_half_precision_variant(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.fp16.safetensors")
    assert load_vae(folder).dtype == torch.float32


def test_sharded_weights(tmp_path: Path) -> None:
    module: Any = save_tiny("AutoencoderKL", tmp_path / "whole")
    module.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    whole, sharded = load_vae(tmp_path / "whole"), load_vae(tmp_path / "sharded")
    assert torch.equal(encode(whole), encode(sharded))
    assert len(sharded.origin.sha256) > 1


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    module: Any = save_tiny("AutoencoderKL", tmp_path / "whole")
    module.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    next((tmp_path / "sharded").glob("*-00001-of-*")).unlink()
    with pytest.raises(WeightsError, match="all its shards"):
        load_vae(tmp_path / "sharded")


def test_shards_are_read_from_their_own_folder_only(tmp_path: Path) -> None:
    module: Any = save_tiny("AutoencoderKL", tmp_path / "whole")
    module.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    expected = dict(load_vae(tmp_path / "sharded").origin.sha256)
    index = tmp_path / "sharded" / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": f"../whole/{WEIGHTS}"}}))
    assert dict(load_vae(tmp_path / "sharded").origin.sha256) == expected


def test_attention_names_of_early_stable_diffusion(folder: Path) -> None:
    expected = encode(load_vae(folder))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(folder / WEIGHTS)
    for new, name in old.items():
        tensors = {key.replace(f".{new}.", f".{name}."): v for key, v in tensors.items()}
    assert any("proj_attn" in key for key in tensors)
    save_file(tensors, folder / WEIGHTS)
    assert torch.equal(encode(load_vae(folder)), expected)


def test_name_of_the_catalogue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_hub(monkeypatch, folder)
    vae = load_vae("sd15", offline=True)
    entry = CATALOGUE["sd15"]
    assert asked == {
        "repo": entry.repo,
        "subfolder": entry.subfolder,
        "files": entry.files,
        "revision": None,
        "offline": True,
        "progress": None,
    }
    assert (vae.spec.name, vae.origin.source, vae.origin.revision) == ("sd15", "sd15", "abc123")


def test_hub_id_with_subfolder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_hub(monkeypatch, folder)
    vae = load_vae("owner/FLUX.1-x:vae", revision="main")
    assert (asked["repo"], asked["subfolder"], asked["files"]) == ("owner/FLUX.1-x", "vae", None)
    assert asked["revision"] == "main"
    assert vae.spec.name == "FLUX.1-x"


def fake_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    asked: dict[str, Any] = {}

    def fetch(repo: str, **options: Any) -> Any:
        asked.update(repo=repo, **options)
        return SimpleNamespace(folder=folder, revision="abc123")

    monkeypatch.setattr(hub, "fetch", fetch)
    return asked


def test_existing_path_takes_precedence_over_a_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rename(folder.parent / "sd15")
    monkeypatch.chdir(folder.parent)
    assert load_vae("sd15").origin.source == str(folder.parent / "sd15")


@pytest.mark.parametrize(
    "source",
    ["./nothing", "/no/such", "~/nothing-here", "vae.safetensors", "models/kl/vae", "a.pth,b.pth"],
)
def test_missing_path_says_so(source: str) -> None:
    with pytest.raises(ModelNotFoundError, match="which does not exist"):
        load_vae(source)


def test_link_to_a_file_without_suffix(tmp_path: Path) -> None:
    module = save_tiny("TAESD", tmp_path / "pair")
    save_file(module.state_dict(), tmp_path / "0a1b2c")
    (tmp_path / "taef.safetensors").symlink_to(tmp_path / "0a1b2c")
    linked = load_vae(tmp_path / "taef.safetensors")
    assert linked.origin.source == str(tmp_path / "taef.safetensors")
    assert torch.equal(encode(linked), encode(load_vae(tmp_path / "0a1b2c")))


def test_relative_folder_is_kept_as_an_absolute_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert load_vae(".").origin.source == str(folder)
    assert load_vae("../kl").spec.name == "kl"


def test_weights_do_not_change_with_their_file(folder: Path) -> None:
    vae = load_vae(folder)
    before = encode(vae)
    size = (folder / WEIGHTS).stat().st_size
    with (folder / WEIGHTS).open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(b"\xff" * (size - size // 2))
    assert torch.equal(encode(vae), before)


def test_misspelled_name_lists_similar_ones() -> None:
    with pytest.raises(ModelNotFoundError, match="flux1"):
        load_vae("fluks1")


def test_revision_of_a_local_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="it out for local files"):
        load_vae(folder, revision="main")


@pytest.mark.parametrize(
    "options", [{"dtype": "int8"}, {"dtype": torch.int64}, {"device": "gpu"}, {"device": "hpu:9"}]
)
def test_unknown_device_or_dtype(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        load_vae(folder, **options)


@pytest.mark.parametrize("name", ["gpu", "meta", "hpu:9", "cuda:x"])
def test_unusable_device_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"device={name}.*--device cpu"):
        choose_device(name)


@pytest.mark.parametrize(
    ("available", "chosen"),
    [({"cuda", "mps"}, "cuda"), ({"mps"}, "mps"), (set(), "cpu")],
)
def test_auto_prefers_cuda_to_mps_to_the_cpu(
    available: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in available)
    assert choose_device("auto") == torch.device(chosen)


def test_tiles_are_an_option_of_loading(folder: Path) -> None:
    assert load_vae(folder).tiling is None
    vae = load_vae(folder, tile=128, device="cpu")
    assert vae.tiling is not None
    assert (vae.tiling["tile"], vae.spec, vae.dtype) == (128, load_vae(folder).spec, torch.float32)
    with pytest.raises(UsageError, match="tiles of 129 pixels"):
        load_vae(folder, tile=129)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("auto", torch.float32), ("float16", torch.float16), (torch.float64, torch.float64)],
)
def test_dtypes(folder: Path, dtype: Any, expected: torch.dtype) -> None:
    vae = load_vae(folder, dtype=dtype, device="cpu")
    assert vae.dtype == expected
    # The layer that takes the image is never rounded to 16 bits.
    first, *others = [p.dtype for p in vae.module.parameters()]  # type: ignore[attr-defined]
    assert first == (torch.float32 if expected.itemsize == 2 else expected)
    assert set(others[1:]) == {expected}


# folders with no model, or with several


def test_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"with no weights, .*a config\.json"):
        load_vae(tmp_path)


def test_config_without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(WeightsError, match=r"no weights beside config\.json"):
        load_vae(folder)


def test_folder_with_several_files_lists_them(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        save_file({"x": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(WeightsError, match=r"a\.safetensors, b\.safetensors, c\.safetensors"):
        load_vae(tmp_path)


def test_safetensors_are_preferred_to_a_pickle_of_the_same_name(tmp_path: Path) -> None:
    save_tiny("TAESD", tmp_path)
    for path in list(tmp_path.iterdir()):
        path.with_suffix(".pth").write_bytes(b"damaged")
    assert all(name.endswith("safetensors") for name in load_vae(tmp_path).origin.sha256)


# configurations


def test_weights_of_another_family_are_named(tmp_path: Path) -> None:
    save_tiny("AutoencoderKL", tmp_path)
    save_file(tiny_tiny().state_dict(), tmp_path / WEIGHTS)
    with pytest.raises(WeightsError, match=r"missing keys .*look like AutoencoderTiny"):
        load_vae(tmp_path)


def test_weights_of_another_kl_model_are_named(tmp_path: Path) -> None:
    save_tiny("AutoencoderKL", tmp_path, latent_channels=16)
    edit_config(tmp_path, latent_channels=4)
    with pytest.raises(WeightsError, match=r"mismatched shapes .* this looks like FLUX\.1 or SD3"):
        load_vae(tmp_path)


def test_surplus_weights_are_refused(folder: Path) -> None:
    edit_weights(folder, **{"bn.running_mean": torch.zeros(16)})
    with pytest.raises(WeightsError, match=r"1 unexpected keys .*look like AutoencoderKLFlux2"):
        load_vae(folder)


@pytest.mark.parametrize("name", ["UNet2DConditionModel", ["AutoencoderKL"]])
def test_unknown_class_names_some_that_are_supported(folder: Path, name: Any) -> None:
    edit_config(folder, _class_name=name)
    with pytest.raises(WeightsError, match="an image autoencoder, such as AutoencoderKL"):
        load_vae(folder)


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", "<html>", "\x00\xff"])
def test_broken_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(WeightsError, match=r"config\.json, "):
        load_vae(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_channels": 10**9},
        {"block_out_channels": [8, "many"]},
        {"block_out_channels": []},
        {"down_block_types": ["NoSuchBlock", "DownEncoderBlock2D"]},
        {"norm_num_groups": 0},
        {"in_channels": 4},
        {"latent_channels": None},
        {"layers_per_block": 10**8},
    ],
)
def test_config_that_builds_nothing(folder: Path, changes: dict[str, Any]) -> None:
    edit_config(folder, **changes)
    with pytest.raises(WeightsError):
        load_vae(folder)


def test_option_of_a_newer_diffusers_is_reported(folder: Path) -> None:
    edit_config(folder, spectral_gate=True)
    with pytest.warns(UserWarning, match="no option spectral_gate"):
        load_vae(folder)


# damaged and unsafe weights


class RunsCode:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must never be printed",)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    edit_weights(folder, **{"encoder.conv_in.bias": torch.full((8,), value)})
    with pytest.raises(WeightsError, match=r"NaN or infinite weights in encoder\.conv_in\.bias"):
        load_vae(folder)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt", ".pt", ".bin"])
@pytest.mark.parametrize("content", [b"", b"\x80", b"<!DOCTYPE html>", b"PK\x03\x04", b"\x07" * 99])
def test_garbage(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_vae(path)
    assert "download" in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_truncated_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"model{suffix}"
    tensors = {"weight": torch.randn(5000)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="truncated or not a weights file"):
        load_vae(path)


WHOLE = {"weight": torch.linspace(0, 1, 40), "bias": torch.ones(3)}


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@settings(max_examples=60, derandomize=True)
@given(place=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans())
def test_any_damage_is_read_or_refused_in_one_line(
    kind: str, place: float, byte: int, cut: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("x.safetensors" if kind == "safetensors" else "x.pth")
        if kind == "safetensors":
            save_file(WHOLE, path)
        else:
            torch.save(WHOLE, path, _use_new_zipfile_serialization=kind == "zip")
        content = bytearray(path.read_bytes())
        position = int(place * (len(content) - 1))
        content[position] = byte
        path.write_bytes(content[:position] if cut else content)
        message, tensors = "", {}
        try:
            tensors = read_tensors(path)
        except WeightsError as error:
            message = str(error)
        assert "\n" not in message
        assert message or all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("write", ["zip", "legacy", "pickle", "torchscript"])
def test_pickle_that_would_run_code_is_refused(
    tmp_path: Path, write: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pth"
    content = {"weight": RunsCode()}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif write == "torchscript":
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "zip")
    with pytest.raises(WeightsError, match="a pickle that would run code"):
        load_vae(path)
    assert capsys.readouterr().out == ""


def test_legacy_pickle_of_tensors_loads(tmp_path: Path) -> None:
    module = save_tiny("TAESD", tmp_path)
    path = tmp_path / "old.pt"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    assert load_vae(path).spec.name == "old"


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}, torch.zeros(3)])
def test_pickle_without_named_tensors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="without tensors"):
        load_vae(tmp_path / "model.pth")


def test_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(WeightsError, match="git lfs pull"):
        load_vae(path)


def test_every_refusal_has_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"")
    for source in (tmp_path / "x.pth", tmp_path, "./nothing", "no-such-model"):
        with pytest.raises(ModelError) as caught:
            load_vae(source)
        assert isinstance(caught.value, LatentlabError)
        assert caught.value.exit_code == 4


# the user's own functions

SPEC = LatentSpec("own", channels=12, stride=2)


def fold(images: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pixel_unshuffle(images, 2)


def unfold(latents: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pixel_shuffle(latents, 2)


def test_own_functions_round_trip() -> None:
    vae = wrap_vae(encode=fold, decode=unfold, spec=SPEC)
    images = torch.rand(2, 3, 8, 6)
    posterior = vae.encode(images)
    assert posterior.logvar is None
    assert torch.equal(vae.decode(posterior.mean), images)


@pytest.mark.parametrize("as_posterior", [True, False])
def test_own_functions_with_logvar(as_posterior: bool) -> None:
    def both(images: torch.Tensor) -> Any:
        pair = fold(images), fold(images) - 5
        return Posterior(*pair) if as_posterior else pair

    spec = LatentSpec("own", channels=12, stride=2, has_logvar=True)
    posterior = wrap_vae(encode=both, decode=unfold, spec=spec).encode(torch.zeros(1, 3, 4, 4))
    assert posterior.logvar is not None
    assert posterior.logvar.eq(-5).all()


def test_own_functions_that_break_their_spec() -> None:
    wrong = LatentSpec("own", channels=3, stride=2)
    with pytest.raises(ShapeError, match=r"\(1, 12, 2, 2\) from encode, .*\(1, 3, 2, 2\)"):
        wrap_vae(encode=fold, decode=unfold, spec=wrong).encode(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ShapeError, match="from decode"):
        wrap_vae(encode=fold, decode=fold, spec=SPEC).decode(torch.zeros(1, 12, 4, 4))
    claimed = LatentSpec("own", channels=12, stride=2, has_logvar=True)
    with pytest.raises(ShapeError, match="no log-variance from encode"):
        wrap_vae(encode=fold, decode=unfold, spec=claimed).encode(torch.zeros(1, 3, 4, 4))
