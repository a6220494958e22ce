"""Latents that other programs wrote: what is recognized, asked for, refused and kept."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from safetensors.torch import save_file

import latentlab
from latentlab.errors import FileError, LatentlabError, UsageError
from latentlab.machine.files import locked
from latentlab.store.arrays import StoredArray
from latentlab.store.foreign import ForeignLatents, open_latents
from latentlab.store.importing import import_latents
from latentlab.store.reading import open_store


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def read(path: Path, **how: object) -> np.ndarray:
    found = open_latents(path, **how)  # type: ignore[arg-type]
    return np.concatenate([np.asarray(block) for block in found.batches(3)])


def test_arrays_of_numpy_torch_and_safetensors_are_read_bit_for_bit(tmp_path: Path) -> None:
    values = drawn(5, 16, 6, 4)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "big_endian.npy", values.astype(">f4"))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(values))
    np.savez(tmp_path / "b.npz", latents=values, labels=np.arange(5))
    np.savez_compressed(tmp_path / "c.npz", z=values)
    torch.save(torch.from_numpy(values), tmp_path / "d.pt")
    torch.save({"latents": torch.from_numpy(values), "step": 3}, tmp_path / "e.pth")
    torch.save([*torch.from_numpy(values)], tmp_path / "list.pt")
    torch.save(torch.from_numpy(values), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    tensors = {"latents": torch.from_numpy(values), "latents_flip": torch.zeros(5, 16, 6, 4)}
    save_file({**tensors, "labels": torch.arange(5)}, tmp_path / "f.safetensors")
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read(path), values, err_msg=path.name)
    whole = latentlab.open_latents(tmp_path)
    assert len(whole) == 50
    np.testing.assert_array_equal(whole[7].values, values[2])
    assert [one.values.shape for one in whole][-1] == (16, 6, 4)
    assert "open_latents" not in latentlab.__all__


def test_bfloat16_and_float16_keep_their_dtype(tmp_path: Path) -> None:
    values = torch.from_numpy(drawn(3, 4, 2, 2))
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        save_file({"latents": values.to(dtype)}, tmp_path / "a.safetensors")
        name = str(dtype).removeprefix("torch.")
        made = import_latents(open_latents(tmp_path / "a.safetensors"), tmp_path / name)
        assert made.manifest.stored == name
        assert torch.equal(torch.cat([*made.batches(2)]), values.to(dtype).float())


def test_kohya_and_lightning_are_known_to_be_raw_and_their_fields_are_kept(tmp_path: Path) -> None:
    kohya = {"latents": drawn(4, 8, 12), "original_size": np.array([96, 64])}
    np.savez(tmp_path / "k.npz", **kohya, crop_ltrb=np.array([0, 0, 96, 64]))
    found = open_latents(tmp_path / "k.npz")
    assert found.manifest.space == "raw"
    made = import_latents(found, tmp_path / "kohya")
    (line,) = made.images()
    assert line["fields"] == {"original_size": [96, 64], "crop_ltrb": [0, 0, 96, 64]}
    tensors = {"latents": torch.zeros(3, 32, 4, 4), "latents_flip": torch.zeros(3, 32, 4, 4)}
    save_file({**tensors, "labels": torch.tensor([7, 8, 9])}, tmp_path / "l.safetensors")
    found = open_latents(tmp_path / "l.safetensors")
    assert found.manifest.space == "raw"
    made = import_latents(found, tmp_path / "lightning")
    assert [line["fields"]["labels"] for line in made.images()] == [7, 8, 9]
    assert made.skipped == 1
    assert "latents_flip" in (made.folder / "index.jsonl").read_text()


def test_several_buckets_of_one_file_are_several_shapes(tmp_path: Path) -> None:
    arrays = {f"latents_{h}x{w}": drawn(4, h, w) for h, w in ((8, 6), (6, 8))}
    sizes = {f"original_size_{h}x{w}": np.array([w, h]) for h, w in ((8, 6), (6, 8))}
    np.savez(tmp_path / "k.npz", **arrays, **sizes)
    made = import_latents(open_latents(tmp_path / "k.npz"), tmp_path / "store")
    assert made.shapes == {(4, 6, 8): 1, (4, 8, 6): 1}
    assert [line["fields"]["original_size"] for line in made.images()] == [[6, 8], [8, 6]]
    assert [*made.paths()] == ["k.npz:latents_8x6", "k.npz:latents_6x8"]


def test_packed_tokens_are_unpacked_as_flux_packs_them(tmp_path: Path) -> None:
    latent = drawn(16, 8, 12)
    tokens = np.zeros((1, 24, 64), np.float32)
    for row in range(4):
        for column in range(6):
            block = latent[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            tokens[0, 6 * row + column] = block.reshape(64)  # channel, row, column
    np.save(tmp_path / "packed.npy", tokens)
    with pytest.raises(UsageError, match="packed=HxW"):
        open_latents(tmp_path / "packed.npy")
    found = open_latents(tmp_path / "packed.npy", layout="packed=4x6")
    np.testing.assert_array_equal(found[0].values, latent)
    assert "unpacked from 4×6 tokens" in found.statement
    with pytest.raises(UsageError, match="rows × columns that make 24"):
        open_latents(tmp_path / "packed.npy", layout="packed=4x5")
    np.save(tmp_path / "square.npy", drawn(1, 16, 64))
    assert open_latents(tmp_path / "square.npy").shape == (16, 8, 8)


@pytest.mark.parametrize(
    ("shape", "layout", "latent", "count"),
    [
        ((4, 64, 64), "chw", (4, 64, 64), 1),
        ((2, 4096, 64), "packed", (16, 128, 128), 2),
        ((5, 10, 6, 4), "nhwc", (4, 10, 6), 5),
        ((2, 16, 3, 4, 6), "ncthw", (16, 4, 6), 6),
        ((2, 4, 16, 4, 6), "", (), 0),
        ((2, 5, 16, 4, 6), "ntchw", (16, 4, 6), 10),
        ((16, 1, 6, 6), "cthw", (16, 6, 6), 1),
        ((9, 7), "vectors", (7, 1, 1), 9),
        ((9, 64), "", (), 0),
        ((16, 21, 6, 6), "", (), 0),
        ((8, 256, 64), "", (), 0),
        ((500, 16, 10), "", (), 0),
        ((2, 16, 16, 4, 6), "", (), 0),
    ],
)
def test_shapes_are_recognized_or_asked_for(
    tmp_path: Path, shape: tuple[int, ...], layout: str, latent: tuple[int, ...], count: int
) -> None:
    path = tmp_path / "a.npy"
    values = drawn(*shape)
    np.save(path, values)
    if not count:
        with pytest.raises(UsageError, match="--layout"):
            open_latents(path)
        return
    found = open_latents(path)
    assert (found.shape, len(found)) == (latent, count)
    assert f"Layout {layout} " in f"{found.statement} "  # type: ignore[attr-defined]
    axes = {"ncthw": (0, 2, 1, 3, 4), "nhwc": (0, 3, 1, 2), "cthw": (1, 0, 2, 3)}
    if layout != "packed":
        moved = values.transpose(axes.get(layout, tuple(range(values.ndim))))
        np.testing.assert_array_equal(read(path), moved.reshape(-1, *latent))


def test_moments_are_asked_for_and_their_means_are_taken(tmp_path: Path) -> None:
    means, logvar = drawn(3, 4, 5, 5), -12 + drawn(3, 4, 5, 5, seed=1)
    np.save(tmp_path / "m.npy", np.concatenate([means, logvar], 1))
    with pytest.raises(UsageError, match="--layout moments"):
        open_latents(tmp_path / "m.npy")
    np.testing.assert_array_equal(read(tmp_path / "m.npy", layout="moments"), means)
    np.savez(tmp_path / "n.npz", moments=np.concatenate([means, logvar], 1))
    np.testing.assert_array_equal(read(tmp_path / "n.npz"), means)
    assert open_latents(tmp_path / "n.npz").manifest.space == "raw"
    assert read(tmp_path / "m.npy", layout="nchw").shape == (3, 8, 5, 5)


def test_raw_latents_get_the_normalization_of_their_model(tmp_path: Path, cli: CommandLine) -> None:
    vae = latentlab.load_vae(cli.model)
    raw = 5 * drawn(3, vae.spec.channels, 4, 4)
    np.save(tmp_path / "raw.npy", raw)
    with pytest.raises(UsageError, match="--space raw or --space model"):
        open_latents(tmp_path / "raw.npy", vae=vae)
    found = open_latents(tmp_path / "raw.npy", vae=vae, space="raw")
    assert found.manifest.space == "model"
    expected = vae.normalization.to_model(torch.from_numpy(raw))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(torch.cat([*found.batches(8)]), expected)
    with pytest.warns(UserWarning, match="--space raw would give"):
        np.testing.assert_array_equal(read(tmp_path / "raw.npy", vae=vae, space="model"), raw)
    np.save(tmp_path / "other.npy", drawn(3, 3, 4, 4))
    with pytest.raises(FileError, match="3 channels in other"):
        open_latents(tmp_path / "other.npy", vae=vae, space="raw")
    both = open_latents(tmp_path, vae=vae, space="raw")
    assert len(both) == 3
    assert "3 channels" in both.faults["other.npy"]  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("default:latents taken as --space model have .* 0.01")
def test_latents_that_contradict_their_model_are_said_with_figures(
    tmp_path: Path, cli: CommandLine
) -> None:
    """Raw latents taken as normalized ones, normalized ones as raw, and those of no model."""
    vae = latentlab.load_vae(cli.model)
    latents = torch.from_numpy(drawn(40, vae.spec.channels, 8, 8))
    raw = vae.normalization.from_model(latents)  # type: ignore[attr-defined]
    for name, values in (("raw", raw), ("model", latents), ("tiny", 0.01 * latents)):
        np.save(tmp_path / f"{name}.npy", values)
    for name in ("raw", "model"):
        open_latents(tmp_path / f"{name}.npy", vae=vae, space=name)
    for name, space, says in (
        ("raw", "model", r"as --space model .* 5\.\d+ in the .* --space raw would give 1"),
        ("model", "raw", r"as --space raw .* 0\.1\d+ in the .* --space model would give 1"),
        ("tiny", "model", r"0\.01 in the .* check that they are this model's"),
    ):
        with pytest.warns(UserWarning, match=says):
            open_latents(tmp_path / f"{name}.npy", vae=vae, space=space)
    path = tmp_path / "tiny.npy"
    called = cli("store", "stats", path, "--space", "model", "-m", cli.model, "--json")
    assert "warning: latents taken as --space model" in called.err
    assert called.code == 0


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of good latents and one file for each kind of fault."""
    folder = tmp_path_factory.mktemp("latents")
    np.save(folder / "a.npy", drawn(2, 4, 6, 6))
    np.save(folder / "b.npy", drawn(1, 4, 6, 8))
    np.savez(folder / "whole.npz", latents=drawn(4, 6, 6))
    content = (folder / "whole.npz").read_bytes()
    (folder / "truncated.npz").write_bytes(content[:300])
    (folder / "cut.npy").write_bytes((folder / "a.npy").read_bytes()[:-8])
    flipped = bytearray(content)
    flipped[200] ^= 255
    (folder / "flipped.npz").write_bytes(flipped)
    np.save(folder / "objects.npy", np.array([{}, None]), allow_pickle=True)
    torch.save(torch.nn.Linear(1, 1), folder / "pickle.pt")
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f4", "fortran_order": False, "shape": (10, 4, 1000, 500)}
        )
        archive.writestr("latents.npy", head.getvalue() + bytes(80_000_000))
    torch.save(torch.zeros(1).expand(10**9, 4, 8, 8), folder / "expanded.pt")
    np.savez(folder / "collide.npz", latents=drawn(4, 6, 6), latents_6x6=drawn(4, 6, 6))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("latents.npy", (folder / "a.npy").read_bytes())
        archive.writestr("latents_npy", (folder / "a.npy").read_bytes())
    twice = content.getvalue().replace(b"latents_npy", b"latents.npy")
    (folder / "twice.npz").write_bytes(twice)
    np.savez(folder / "several.npz", first=drawn(4, 6, 6), second=drawn(4, 6, 6))
    np.save(folder / "sixteen.npy", drawn(16, 6, 6))
    infinite = drawn(3, 4, 6, 6).astype(np.float16)
    infinite[1, 2, 3, 4] = np.inf
    np.save(folder / "infinite.npy", infinite)
    (folder / "empty.npy").touch()
    with (folder / "negative.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (-1, 4, 6, 6)}
        )
    (folder / "photo.heic").write_bytes(b"x")
    (folder / "caption.txt").write_text("a cat")
    (folder / "nowhere.npy").symlink_to("/nonexistent")
    return folder


REASONS = {
    "truncated.npz": "cannot be read",
    "cut.npy": "is truncated",
    "flipped.npz": "Bad CRC",
    "objects.npy": "Python objects",
    "pickle.pt": "wants to run code",
    "bomb.npz": "zip bomb",
    "expanded.pt": "claims more values",
    "collide.npz": "both latents and latents_6x6",
    "twice.npz": "two arrays named latents.npy",
    "several.npz": "first 4×6×6, second 4×6×6",
    "sixteen.npy": "16 channels",
    "infinite.npy#1": "NaN or infinite values",
    "empty.npy": "is empty",
    "negative.npy": "claims the shape (-1, 4, 6, 6)",
    "*.heic": "1 of an unknown kind",
    "nowhere.npy": "leads out of the folder",
}


def test_each_fault_is_one_sentence_and_the_rest_is_read(
    bad_folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    folder = bad_folder
    called = cli("store", "import", folder, tmp_path / "store", "--json")
    assert called.facts["shapes"] == {"4x6x6": 5, "4x6x8": 1}
    lines = (tmp_path / "store" / "index.jsonl").read_text().splitlines()
    skipped = {
        line["path"]: line["skipped"] for line in map(json.loads, lines) if "skipped" in line
    }
    assert skipped.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert reason in skipped[name], name
        assert "\n" not in skipped[name]
    assert cli("store", "verify", tmp_path / "store").code == 0
    found = open_latents(folder)
    assert isinstance(found, ForeignLatents)
    checked = found.finite()
    assert (len(found), len(checked)) == (7, 6)
    assert {*checked.faults} == {*REASONS}
    assert len([*checked]) == 6
    assert torch.isfinite(torch.cat([one.values.flatten() for one in checked])).all()


@pytest.mark.parametrize("name", sorted({*REASONS} - {"sixteen.npy", "infinite.npy#1", "*.heic"}))
def test_nothing_readable_is_an_error_without_a_store(
    bad_folder: Path, tmp_path: Path, cli: CommandLine, name: str
) -> None:
    called = cli("store", "import", bad_folder / name, tmp_path / "store", "-q")
    asked = name in ("collide.npz", "several.npz")
    assert called.code == (2 if asked else 3), called.err
    assert called.error
    assert not (tmp_path / "store").exists()
    assert {path.name for path in tmp_path.iterdir()} == set()


ODD = {
    "page.npy": "is a web page",
    "cut.npz": "does not start as NumPy's files do",
    "none.npy": "0×4×6×6 that holds no numbers",
    "short.npy": "unnamed 7; pass another file",
    "scalar.npy": "unnamed without axes",
    "complex.npy": "unnamed 2×4×6×6 (complex64)",
    "int8.safetensors": "an array of int8 (latents 2×4×6×6)",
    "dots.pt": "two tensors named a.b",
    "loop.npy": "leads to no file",
    "with objects.npz:meta": "Python objects",
}


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder, nested and with names in many scripts, of good latents and odd files."""
    folder = tmp_path_factory.mktemp("odd") / "ünï 名前" / "a b"
    folder.mkdir(parents=True)
    np.save(folder / "l'atent 猫.npy", drawn(2, 4, 6, 6))
    (folder / "page.npy").write_bytes(b"<!DOCTYPE html><p>not found")
    (folder / "cut.npz").write_bytes(b"P")
    for name, values in {
        "none": drawn(0, 4, 6, 6),
        "short": drawn(7),
        "scalar": np.float32(1),
        "complex": np.zeros((2, 4, 6, 6), np.complex64),
    }.items():
        np.save(folder / f"{name}.npy", values)
    save_file({"latents": torch.ones(2, 4, 6, 6).char()}, folder / "int8.safetensors")
    torch.save({"a": {"b": torch.zeros(4, 6, 6)}, "a.b": torch.zeros(4, 6, 6)}, folder / "dots.pt")
    (folder / "loop.npy").symlink_to("loop.npy")
    meta = np.array([{}], dtype=object)
    np.savez(folder / "with objects.npz", latents=drawn(4, 6, 6), meta=meta)  # type: ignore[arg-type]
    return folder


def test_odd_files_below_a_folder_cost_one_sentence_each(
    odd_folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    called = cli("store", "import", odd_folder.parents[1], tmp_path / "store", "--json")
    assert called.facts["shapes"] == {"4x6x6": 3}
    lines = (tmp_path / "store" / "index.jsonl").read_text().splitlines()
    skipped = {
        line["path"].rpartition("/")[2]: line["skipped"]
        for line in map(json.loads, lines)
        if "skipped" in line
    }
    assert skipped.keys() == ODD.keys()
    for name, reason in ODD.items():
        assert reason in skipped[name], name
    paths = [*open_store(tmp_path / "store").paths()]
    assert paths[0] == "ünï 名前/a b/l'atent 猫.npy#0"


@pytest.mark.parametrize("name", sorted({*ODD} - {"with objects.npz:meta"}))
def test_odd_files_alone_say_what_to_do(odd_folder: Path, cli: CommandLine, name: str) -> None:
    called = cli("store", "stats", odd_folder / name)
    assert called.code == (2 if name == "int8.safetensors" else 3)
    assert called.error


def test_numbers_that_are_no_floats_are_read_if_they_are_asked_for(
    tmp_path: Path, cli: CommandLine
) -> None:
    values = np.random.default_rng(0).integers(-9, 9, (3, 4, 6, 6))
    np.save(tmp_path / "a.npy", values)
    asked = cli("store", "stats", tmp_path / "a.npy")
    assert asked.code == 2
    assert 'Pass --key "" if these numbers' in asked.error
    facts = cli("store", "stats", tmp_path / "a.npy", "--key", "", "--json").facts
    np.testing.assert_allclose(facts["channels"]["mean"], values.mean((0, 2, 3)), rtol=1e-12)


def test_where_no_file_can_be_read_all_are_named(
    odd_folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    for name in ("page.npy", "cut.npz", "short.npy"):
        (tmp_path / name).write_bytes((odd_folder / name).read_bytes())
    called = cli("store", "stats", tmp_path)
    assert called.code == 3
    assert "in 2 more (page.npy, short.npy)" in called.error
    (tmp_path / "int8.safetensors").write_bytes((odd_folder / "int8.safetensors").read_bytes())
    asked = cli("store", "stats", tmp_path)  # what an option can mend goes first
    assert asked.code == 2
    assert "--key latents" in asked.error
    assert "in 3 more" in asked.error


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", drawn(4, 5, 5))
    (tmp_path / "sub").mkdir()
    listed = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = open_latents(tmp_path)
    assert found.faults == {"sub": "a folder that cannot be read (Permission denied)"}  # type: ignore[attr-defined]


def test_all_infinite_is_an_error_too(tmp_path: Path, cli: CommandLine) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 4, 3, 3), np.inf))
    assert cli("store", "import", tmp_path / "a.npy", tmp_path / "store", "-q").code == 3
    with pytest.raises(LatentlabError, match="NaN or infinite"):
        open_latents(tmp_path / "a.npy").finite()  # type: ignore[attr-defined]


def test_tar_files_folders_and_links(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    (folder / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    np.save(elsewhere / "a.npy", drawn(4, 5, 5))
    torch.save({"latents": torch.from_numpy(drawn(4, 5, 5, seed=1))}, elsewhere / "b.pt")
    save_file({"latents": torch.from_numpy(drawn(2, 4, 5, 5))}, elsewhere / "c.safetensors")
    np.savez(elsewhere / "d.npz", latents=drawn(4, 5, 5))
    with tarfile.open(folder / "sub" / "x.tar", "w") as archive:
        for path in sorted(elsewhere.iterdir()):
            archive.add(path, path.name)
    (folder / "link.npy").symlink_to(elsewhere / "a.npy")
    found = open_latents(folder)
    names = ["sub/x.tar/a.npy", "sub/x.tar/b.pt"]
    assert [*found.paths()][:2] == names
    assert len(found) == 5
    assert [*found.faults] == ["link.npy"]  # type: ignore[attr-defined]
    assert len(open_latents(folder, follow_links=True)) == 6
    np.testing.assert_array_equal(found[1].values, drawn(4, 5, 5, seed=1))
    assert len(open_latents(folder / "sub" / "x.tar")) == 5


def test_out_is_never_overwritten(tmp_path: Path, cli: CommandLine) -> None:
    np.save(tmp_path / "a.npy", drawn(2, 4, 3, 3))
    (tmp_path / "store").mkdir()
    assert cli("store", "import", tmp_path / "a.npy", tmp_path / "store").code == 0
    assert len(open_store(tmp_path / "store")) == 2
    assert cli("store", "import", tmp_path / "a.npy", tmp_path / "store").code == 3
    assert cli("store", "import", tmp_path / "store", tmp_path / "b").code == 2


def test_pca_of_packed_latents_equals_an_independent_svd(tmp_path: Path, cli: CommandLine) -> None:
    tokens = drawn(30, 16, 64)
    np.save(tmp_path / "packed.npy", tokens)
    asked = cli("pca", tmp_path / "packed.npy", "-q")
    assert asked.code == 2
    assert "--layout" in asked.error
    facts = cli("pca", tmp_path / "packed.npy", "--layout", "packed", "--json").facts
    rows = tokens.reshape(30, -1).astype(np.float64)  # packing only permutes the features
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:-1] ** 2 / 29
    np.testing.assert_allclose(facts["explained_variance"], values, rtol=1e-6)
    assert facts["space"] == "unstated"
    assert "packed" in facts["layouts"][0]
    assert facts["latent_std"] == pytest.approx(tokens.std(dtype=np.float64), rel=1e-6)
    cells = cli(
        "pca", tmp_path / "packed.npy", "--layout", "packed", "-k", "tokens", "--space", "model"
    )
    assert "model, cells of mean" in cells.out
    assert "(N = 1,920, D = 16)" in cells.out


def test_pca_leaves_out_what_is_not_finite_and_says_so(
    bad_folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    (tmp_path / "some").mkdir()
    for name in ("infinite.npy", "pickle.pt", "a.npy"):
        (tmp_path / "some" / name).write_bytes((bad_folder / name).read_bytes())
    called = cli("pca", tmp_path / "some", "--out", tmp_path / "run")
    assert called.code == 0
    assert "infinite.npy#1: NaN or infinite values" in called.err
    assert "pickle.pt: is a pickle that wants to run code" in called.err
    assert "(N = 4, D = 144)" in called.out
    assert cli("pca", cli.image, "--layout", "packed").code == 2


def test_all_latents_that_are_left_out_are_counted(tmp_path: Path, cli: CommandLine) -> None:
    values = drawn(1210, 4, 2, 2)
    values[:1200, 0, 0, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    found = open_latents(tmp_path / "a.npy")
    assert isinstance(found, ForeignLatents)
    kept = found.finite()
    assert (len(kept), kept.skipped, len(kept.faults)) == (10, 1200, 1000)
    assert kept.bucket("4x2x2").skipped == kept.finite().skipped == 1200
    called = cli("pca", tmp_path / "a.npy", "--out", tmp_path / "run")
    assert "… and 1,190 more" in called.err


def test_buckets_are_analyzed_and_exported_one_by_one_and_cells_together(
    tmp_path: Path, cli: CommandLine
) -> None:
    wide, tall = drawn(6, 4, 4, 6), drawn(5, 4, 6, 4, seed=1)
    (tmp_path / "some").mkdir()
    for number in range(6):  # mixed, so that a shard holds both
        np.save(tmp_path / "some" / f"{number}a.npy", wide[number])
        if number < 5:
            np.save(tmp_path / "some" / f"{number}b.npy", tall[number])
    store = tmp_path / "store"
    assert cli("store", "import", tmp_path / "some", store, "--per-shard", 4).code == 0
    refused = cli("pca", store)
    assert refused.code == 2
    assert "--bucket" in refused.error
    for place in (store, tmp_path / "some"):
        facts = cli("pca", place, "--bucket", "4x6x4", "--json").facts
        rows = tall.reshape(5, -1).astype(np.float64)
        values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:-1] ** 2 / 4
        np.testing.assert_allclose(facts["explained_variance"], values, rtol=1e-6)
        facts = cli("pca", place, "-k", "tokens", "--json").facts
        cells = [one.transpose(0, 2, 3, 1).reshape(-1, 4) for one in (wide, tall)]
        values = np.linalg.eigvalsh(np.cov(np.concatenate(cells).T.astype(np.float64)))[::-1]
        np.testing.assert_allclose(facts["explained_variance"], values, rtol=1e-6)
        assert facts["n_samples"] == 11 * 24
        assert "cells of 11 images of 2 shapes" in facts["title"]
    out = tmp_path / "tall.npz"
    assert cli("store", "export", store, "--out", out, "--bucket", "4x6x4").code == 0
    with np.load(out) as found:
        np.testing.assert_array_equal(found["latents"], tall)
        assert [*found["paths"]] == [f"{number}b.npy" for number in range(5)]
    bucket = open_store(store).bucket((4, 6, 4))
    assert len(bucket) == 5
    np.testing.assert_array_equal(bucket[-1].values, tall[4])
    np.testing.assert_array_equal(bucket[1:3][1].values, tall[2])
    assert [one.values.shape for one in bucket] == [(4, 6, 4)] * 5
    assert cli("store", "export", store, "--out", out, "--bucket", "4x9x9").code == 2


def test_what_a_killed_import_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    np.save(tmp_path / "latents.npy", np.zeros((3, 4, 2, 2), np.float32))
    for name in (".out-0123abcd", ".out-89abcdef", ".out-mine", ".other-0123abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "latents-00000.safetensors").write_bytes(b"half")
    with locked(tmp_path / ".out-89abcdef"):  # as an import does that is still running
        source = open_latents(tmp_path / "latents.npy", space="model")
        with pytest.warns(UserWarning, match=r"removed \.out-0123abcd beside .*out: left by 1 imp"):
            made = import_latents(source, tmp_path / "out")
    assert made.summary()["removed"] == [".out-0123abcd"]
    assert open_store(tmp_path / "out").manifest.removed == (".out-0123abcd",)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"latents.npy", "out", ".out-89abcdef", ".out-mine", ".other-0123abcd"}


@pytest.mark.filterwarnings("default:removed")
def test_an_import_says_once_what_it_removed(tmp_path: Path, cli: CommandLine) -> None:
    np.save(tmp_path / "latents.npy", np.zeros((3, 4, 2, 2), np.float32))
    (tmp_path / ".out-0123abcd").mkdir()
    called = cli("store", "import", tmp_path / "latents.npy", tmp_path / "out", "--json")
    assert called.facts["removed"] == [".out-0123abcd"]
    assert called.err.count("warning: removed .out-0123abcd") == 1
    again = cli("store", "import", tmp_path / "latents.npy", tmp_path / "two", "--json")
    assert "removed" not in again.facts
    assert "removed" not in again.err


@pytest.mark.parametrize("problem", [errno.ENOTSUP, errno.EACCES])
def test_where_folders_cannot_be_held_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: int
) -> None:
    np.save(tmp_path / "latents.npy", np.zeros((3, 4, 2, 2), np.float32))
    other = tmp_path / ".out-0123abcd"
    other.mkdir()

    def refuse(*_: object) -> None:
        raise OSError(problem, os.strerror(problem))

    opened = os.open
    if problem == errno.ENOTSUP:  # a file system without locks
        monkeypatch.setattr("fcntl.flock", refuse)
    else:  # another user's folder
        monkeypatch.setattr(
            os, "open", lambda path, *how: refuse() if path == other else opened(path, *how)
        )
    import_latents(open_latents(tmp_path / "latents.npy", space="model"), tmp_path / "out")
    assert other.is_dir()


def test_an_import_holds_its_folder_until_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "latents.npy", np.zeros((3, 4, 2, 2), np.float32))
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        if path.name.startswith(".out-"):
            with pytest.raises(FileError), locked(path):
                pass
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    import_latents(open_latents(tmp_path / "latents.npy", space="model"), tmp_path / "out")


def test_an_array_that_claims_many_rows_without_a_number_is_not_read(tmp_path: Path) -> None:
    def rows(most: int) -> Iterator[torch.Tensor]:
        raise AssertionError(most)

    assert StoredArray("none", (2**60, 0), "float32", rows).whole().numel() == 0
    none = torch.zeros(2**60, 0)
    torch.save({"latents": torch.from_numpy(drawn(4, 6, 6)), "none": none}, tmp_path / "a.pt")
    np.savez(tmp_path / "b.npz", latents=drawn(4, 6, 6), none=none.numpy(), each=np.zeros((1, 0)))
    for name in ("a.pt", "b.npz"):
        found = open_latents(tmp_path / name)
        assert found[0].values.shape == (4, 6, 6)


def test_an_error_counts_the_other_files_whatever_their_names(tmp_path: Path) -> None:
    for name in ("1.npy", "2.npy"):
        (tmp_path / name).touch()
    np.save(tmp_path / "11.npy", np.zeros((4, 4, 6, 6), np.int32))
    with pytest.raises(UsageError, match=r"in 11\.npy, and no latents in 2 more \(1.npy, 2.npy\)"):
        open_latents(tmp_path)
