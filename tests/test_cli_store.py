"""``latentlab encode`` and ``latentlab store``: output, files and exit codes, by calling them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine, files_in
from image_folders import BAD, fill, make_folder, save_smooth
from safetensors.torch import load_file
from test_cli_bad_input import refused

import latentlab
from latentlab.store.reading import open_store
from latentlab.testing.linear_vae import LinearVAE

ENCODE_TYPES = {
    **dict.fromkeys(("pictures", "skipped", "shards", "bytes", "computed"), int),
    **dict.fromkeys(("bytes_per_latent", "latent_std", "pictures_per_second", "seconds"), float),
    "store": str,
    "files": list,
    **dict.fromkeys(("skipped_because", "left_out"), dict),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("place") / "photos", bad=True)


def encode(cli: CommandLine, photos: Path, *options: object) -> Any:
    shared = ("-m", cli.model, "--out", "store", "--workers", 0, "--per-shard", 4)
    return cli("encode", photos, *shared, *options)


def test_encode_prints_one_json_object(cli: CommandLine, photos: Path) -> None:
    called = encode(cli, photos, "--json")
    assert called.out.count("\n") == 1
    facts = called.facts
    assert {name: type(value) for name, value in facts.items()} == ENCODE_TYPES
    assert (facts["pictures"], facts["skipped"], facts["shards"]) == (10, len(BAD), 4)
    sizes = [Path(path).stat().st_size for path in facts["files"]]
    assert {Path(path).name for path in facts["files"]} == {*files_in(Path("store"))}
    assert facts["bytes"] == sum(sizes[2:-1:2])
    assert facts["bytes_per_latent"] == facts["bytes"] / 10


def test_encode_again_has_nothing_to_do(cli: CommandLine, photos: Path) -> None:
    assert encode(cli, photos).code == 0
    called = encode(cli, photos)
    assert called.code == 0
    assert "latents: 10, shards: 4, 0.0 MB" in called.out
    assert "a second" not in called.out
    assert encode(cli, photos, "--json").facts["pictures_per_second"] is None
    quiet = encode(cli, photos, "--quiet")
    assert (quiet.out, quiet.err) == ("", "")


def test_encode_skips_bad_images_and_says_how_many(cli: CommandLine, photos: Path) -> None:
    called = encode(cli, photos, "--size", 16)
    assert called.code == 0
    assert 'skipped: 3, see "skipped" in store/index.jsonl' in called.out


def test_a_resumed_store_keeps_its_precision(cli: CommandLine, photos: Path) -> None:
    begun = ("--size", 16, "--per-shard", 2)
    for dtype in ("float32", "bfloat16"):
        out = ("--out", dtype)
        assert cli("encode", photos, "-m", cli.model, *begun, *out, "--dtype", dtype).code == 0
        whole = {path.name: path.read_bytes() for path in Path(dtype).iterdir() if path.is_file()}
        Path(dtype, "latents-00001.jsonl").unlink()
        again = cli("encode", photos, "-m", cli.model, *begun, *out, "--json")
        assert again.facts["computed"] == 2
        assert whole == {p.name: p.read_bytes() for p in Path(dtype).iterdir() if p.is_file()}


def test_latents_are_those_of_the_model(cli: CommandLine, photos: Path) -> None:
    encode(cli, photos, "--store-dtype", "float32", "--dtype", "float32", "--size", 16)
    vae = latentlab.load_vae(cli.model)
    store = latentlab.open_store("store")
    (path, *_) = store.paths()
    expected = latentlab.encode(vae, photos / path, size=16).values
    torch.testing.assert_close(next(store.batches(1))[0], expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--store-dtype", "int8"), "--store-dtype int8"),
        (("--per-shard", "0"), "--per-shard 0"),
        (("--size", "3"), "--size 3"),
    ],
)
def test_wrong_options_are_refused(
    options: tuple[str, ...], words: str, cli: CommandLine, photos: Path
) -> None:
    refused(encode(cli, photos, *options), 2, words)
    assert not Path("store").exists()


def test_info_says_what_is_in_a_store(cli: CommandLine, photos: Path) -> None:
    encode(cli, photos, "--size", 16)
    facts = cli("store", "info", "store", "--json").facts
    assert facts["shapes"] == {"4x8x8": 11}
    assert (facts["model"], facts["size"], facts["store_dtype"]) == ("small", 16, "float16")
    assert "LANCZOS 16×16" in facts["preprocessing"]
    shown = cli("store", "info", "store")
    assert shown.code == 0
    assert "4x8x8: 11" in shown.out


def test_verify_says_that_all_is_well(cli: CommandLine, photos: Path) -> None:
    encode(cli, photos)
    called = cli("store", "verify", "store", "--pictures", photos)
    assert (called.code, called.out) == (0, "as they were written: shards: 4, images: 10\n")
    facts = cli("store", "verify", "store", "--json").facts
    assert facts == {"shards": 4, "pictures": 0, "problems": [], "count": 0, "whole": True}


# Export


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store in every dtype, of 70 images."""
    place = tmp_path_factory.mktemp("stores")
    folder = make_folder(place / "photos", 69)
    save_smooth(folder / os.fsdecode(b"caf\xe9.png"), seed=99)
    for stored in ("float16", "bfloat16", "float32"):
        fill(folder, place / stored, store_dtype=stored, per_shard=66, vae=LinearVAE())
    return place


def exported(path: Path) -> tuple[np.ndarray, list[str]]:
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return archive["latents"], archive["paths"].tolist()
    lines = path.with_suffix(".jsonl").read_text().splitlines()
    paths = [json.loads(line)["path"] for line in lines]
    if path.suffix == ".npy":
        return np.load(path), paths
    return load_file(path)["latents"].float().numpy(), paths


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("suffix", [".safetensors", ".npy", ".npz"])
def test_export_is_all_latents_in_order(
    stored: str, suffix: str, stores: Path, cli: CommandLine, tmp_path: Path
) -> None:
    out = tmp_path / f"latents{suffix}"
    facts = cli("store", "export", stores / stored, "--out", out, "--json").facts
    store = open_store(stores / stored)
    latents, paths = exported(out)
    assert facts["shape"] == [*latents.shape] == [70, 6, 6, 8]
    assert paths == [*store.paths()]
    np.testing.assert_array_equal(latents.astype(np.float32), torch.cat([*store.batches(7)]))
    if suffix == ".safetensors":
        assert str(load_file(out)["latents"].dtype) == f"torch.{stored}"
    else:
        assert str(latents.dtype) == ("float16" if stored == "float16" else "float32")
    before = out.read_bytes()
    assert cli("store", "export", stores / stored, "--out", out).code == 0
    assert out.read_bytes() == before


def test_export_widens_on_request(stores: Path, cli: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "latents.safetensors"
    assert cli("store", "export", stores / "float16", "--out", out, "--dtype", "float32").code == 0
    assert load_file(out)["latents"].dtype == torch.float32


def test_export_refuses_what_it_cannot_write(
    stores: Path, cli: CommandLine, tmp_path: Path
) -> None:
    refused(cli("store", "export", stores / "float16", "--out", "x.zip"), 2, ".safetensors")
    refused(
        cli("store", "export", stores / "float16", "--out", "x.npy", "--dtype", "int8"), 2, "int8"
    )
    folder = make_folder(tmp_path / "photos", 2)
    save_smooth(folder / "tall.png", seed=1, height=40, width=16)
    fill(folder, tmp_path / "mixed")
    refused(cli("store", "export", tmp_path / "mixed", "--out", "x.npy"), 2, "2 shapes", "--bucket")
    assert not Path("x.npy").exists()
