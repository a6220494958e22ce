"""Latents in tar and zip files: read without a path of theirs on the disk, and never trusted."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from safetensors import SafetensorError
from safetensors.torch import load, save

from latentlab.cli.foreign import holds_latents
from latentlab.errors import FileError
from latentlab.store import archives, safetensors_members, tensor_files
from latentlab.store.arrays import Place
from latentlab.store.containers import arrays_in
from latentlab.store.foreign import ForeignLatents, open_latents

KINDS = ("x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "x.zip", "x.cbz")
VALUES = np.random.default_rng(0).standard_normal((3, 4, 6, 5)).astype(np.float32)


def members() -> dict[str, bytes]:
    """Return one file of each kind, with the same latents, by a name that means harm."""
    plain, packed, pickled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(plain, VALUES)
    np.savez_compressed(packed, latents=VALUES)
    torch.save({"latents": torch.from_numpy(VALUES)}, pickled)
    return {
        "../../outside.npy": plain.getvalue(),
        "/absolute/b.npz": packed.getvalue(),
        "c d/é.pt": pickled.getvalue(),
        "d.safetensors": save({"latents": torch.from_numpy(VALUES)}),
    }


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix in (".zip", ".cbz"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    kind = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w:")
    with tarfile.open(path, kind) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def opened(path: Path) -> ForeignLatents:
    found = open_latents(path)
    assert isinstance(found, ForeignLatents)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_files_in_all_kinds_of_archives(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    files = {**members(), "notes.txt": b"x", ".hidden.npy": b"x", "__MACOSX/d.npy": b"x"}
    found = opened(pack(tmp_path / "in" / kind, files))
    whole = np.concatenate([np.asarray(block) for block in found.batches(2)])
    np.testing.assert_array_equal(whole, np.concatenate([VALUES] * 4))
    np.testing.assert_array_equal(found[10].values, VALUES[1])
    assert [*found.paths()][::3] == [f"{kind}/{name}#0" for name in members()]
    assert not found.faults
    assert [path.name for path in tmp_path.rglob("*")] == ["in", kind]


@pytest.mark.parametrize("kind", ["x.tar.gz", "x.zip"])
def test_commands_take_archives(tmp_path: Path, cli: CommandLine, kind: str) -> None:
    path = pack(tmp_path / kind, members())
    stats = cli("store", "stats", path, "--json").facts
    np.testing.assert_allclose(stats["channels"]["mean"], VALUES.mean((0, 2, 3)), atol=1e-7)
    assert cli("store", "import", path, tmp_path / "store").code == 0
    assert cli("store", "info", tmp_path / "store", "--json").facts["pictures"] == 12
    for argument in (path, tmp_path / "store"):
        called = cli("pca", argument, "--out", tmp_path / argument.name.replace(".", "-"), "--json")
        assert called.code == 0, called.err
        assert called.facts["n_samples"] == 12


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_before_damage_is_read(tmp_path: Path, kind: str) -> None:
    path = pack(tmp_path / kind, {f"{k}.npy": members()["../../outside.npy"] for k in "abc"})
    content = path.read_bytes()
    if kind in ("x.zip", "x.cbz"):
        at = content.rindex(b"c.npy", 0, content.index(b"PK\x01\x02")) + 60
        path.write_bytes(content[:at] + b"\xff" * 40 + content[at + 40 :])
    else:
        path.write_bytes(content[: int(0.75 * len(content))])
    if kind == "x.tar.bz2":  # a single block, which is damaged
        with pytest.raises(FileError, match="is damaged"):
            opened(path)
        return
    found = opened(path)
    assert 3 <= len(found) <= 9
    assert found.faults
    assert all("\n" not in why for why in found.faults.values())


def test_a_wrong_value_in_a_compressed_file_is_told_by_its_checksum(tmp_path: Path) -> None:
    plain = pack(tmp_path / "x.tar", {"a.npy": members()["../../outside.npy"]}).read_bytes()
    content = bytearray(gzip.compress(plain, 0))  # stored, so that every byte is a value
    content[content.index(VALUES[1].tobytes())] ^= 1
    (tmp_path / "x.tar.gz").write_bytes(content)
    found = opened(tmp_path / "x.tar.gz")
    assert found[1].values.numpy().tobytes() != VALUES[1].tobytes()
    assert "CRC check failed" in found.faults["x.tar.gz"]
    assert "may be wrong; copy it again" in found.faults["x.tar.gz"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz", "x.zip"])
def test_of_members_of_one_name_the_last_is_read(tmp_path: Path, kind: str) -> None:
    later = io.BytesIO()
    np.save(later, VALUES + 1)
    path, first = tmp_path / kind, members()["../../outside.npy"]
    if kind == "x.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", first)
            archive.writestr("a.npy", later.getvalue())
    else:
        with tarfile.open(path, "w:gz" if kind.endswith("gz") else "w") as archive:
            for content in (first, later.getvalue()):
                member = tarfile.TarInfo("a.npy")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    found = opened(path)
    assert len(found) == len({*found.paths()}) == 3
    np.testing.assert_array_equal(found[0].values, VALUES[0] + 1)
    assert "second member" in found.faults[f"{kind}/a.npy"]


def test_a_zip_file_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a.npy": members()["../../outside.npy"]})
    np.testing.assert_array_equal(opened(path)[0].values, VALUES[0])
    later = io.BytesIO()
    np.save(later, VALUES + 1)
    pack(tmp_path / "y.zip", {"a.npy": later.getvalue()}).replace(path)
    np.testing.assert_array_equal(opened(path)[0].values, VALUES[0] + 1)


@pytest.mark.parametrize("kind", ["a.npy", "x.tar.gz", "x.zip"])
def test_a_long_header_is_refused_before_it_is_read(tmp_path: Path, kind: str) -> None:
    content = b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + b"{}"
    if kind == "a.npy":
        (tmp_path / kind).write_bytes(content)
    else:
        pack(tmp_path / kind, {"a.npy": content})
    with pytest.raises(FileError, match="a header of 4,294,967,295 bytes"):
        opened(tmp_path / kind)


def test_an_archive_in_a_zip_file_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening: list[Path] = []
    whole = archives.open_zip

    def counted(path: Path) -> zipfile.ZipFile:
        opening.append(path)
        return whole(path)

    monkeypatch.setattr(archives, "open_zip", counted)
    packed = io.BytesIO()
    arrays = {f"latents_{k}x5": np.repeat(VALUES[:1, :, :1], k, 2)[0] for k in range(3, 13)}
    np.savez_compressed(packed, **arrays)
    found = opened(pack(tmp_path / "x.zip", {"a.npz": packed.getvalue()}))
    for latent, values in zip(found, arrays.values(), strict=True):
        np.testing.assert_array_equal(latent.values, values)
    # Once for its list of members, once for the content.
    assert len(opening) == 2


def test_many_arrays_cost_as_much_as_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of members is read once for all arrays, and a tar file is unpacked once."""
    arrays = {f"latents_{8 + k}x8": np.zeros((4, 8 + k, 8), np.float16) for k in range(20)}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    lists, unpacked = list[object](), list[object]()
    read, gunzip = zipfile.ZipFile._RealGetContents, gzip.open  # type: ignore[attr-defined]
    monkeypatch.setattr(
        zipfile.ZipFile, "_RealGetContents", lambda one: (lists.append(one), read(one))[1]
    )
    monkeypatch.setattr(gzip, "open", lambda *how: (unpacked.append(how), gunzip(*how))[1])
    path = pack(tmp_path / "x.tar.gz", {"a.npz": (tmp_path / "a.npz").read_bytes()})
    unpacked.clear()
    for place in (tmp_path / "a.npz", path):
        lists.clear()
        assert sum(len(latents) for latents in opened(place).blocks(64)) == 20
        assert len(lists) == 1
    assert holds_latents(str(path))
    assert len(unpacked) == 1


def test_an_archive_of_nothing_but_zeros_is_refused(tmp_path: Path, cli: CommandLine) -> None:
    zeros = io.BytesIO()
    np.save(zeros, np.zeros((2**10, 4, 64, 64), np.float32))
    for kind in ("x.tar.gz", "x.tar.xz", "x.zip"):
        called = cli("store", "stats", pack(tmp_path / kind, {"a.npy": zeros.getvalue()}))
        assert called.code == 3
        assert "expands like a zip bomb" in called.err
        assert called.err.count("\n") == 1, called.err


def test_a_member_that_is_no_latent_costs_one_sentence(tmp_path: Path, cli: CommandLine) -> None:
    objects, other = io.BytesIO(), io.BytesIO()
    np.save(objects, np.array([{}, []], dtype=object))
    np.save(other, np.zeros((2, 16, 4, 4)))
    files = {
        **members(),
        "objects.npy": objects.getvalue(),
        "empty.npz": b"",
        "o.npy": other.getvalue(),
    }
    for kind in ("x.tar.gz", "x.zip"):
        called = cli("store", "stats", pack(tmp_path / kind, files), "--json")
        assert called.code == 0
        assert called.facts["latents"] == 12
        for what in (
            "objects.npy: holds an array of Python",
            "empty.npz: is empty",
            "o.npy: latents",
        ):
            assert f"{kind}/{what}" in called.err
    for content in (b"", b"nothing", gzip.compress(b"nothing")):
        (tmp_path / "y.tar.gz").write_bytes(content)
        assert cli("store", "stats", tmp_path / "y.tar.gz").code == 3


def test_a_zip_file_with_a_password_is_one_sentence(tmp_path: Path, cli: CommandLine) -> None:
    path = pack(tmp_path / "x.zip", {"a.npy": members()["../../outside.npy"]})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    called = cli("store", "stats", path)
    assert called.code == 3
    assert "a.npy is encrypted" in called.err


def test_no_name_in_an_archive_commands_the_terminal(tmp_path: Path, cli: CommandLine) -> None:
    files = {"a\x1b[31mb\nc.npy": b"no array", "b.npy": members()["../../outside.npy"]}
    called = cli("store", "stats", pack(tmp_path / "x.tar", files))
    assert called.code == 0
    assert "x.tar/a\\x1b[31mb c.npy: " in called.err
    assert "\x1b" not in called.err


def test_archives_in_a_folder_are_read_beside_its_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    pack(tmp_path / "b.tar.gz", {"a.npy": members()["../../outside.npy"]})
    pack(tmp_path / "c.zip", {"a.npy": members()["../../outside.npy"]})
    names = [*opened(tmp_path).paths()]
    assert names[::3] == ["a.npy#0", "b.tar.gz/a.npy#0", "c.zip/a.npy#0"]


@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz", "x.zip"])
def test_tensors_in_archives_are_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of safetensors a block is read at a time; a large file of torch is mapped from a copy."""
    place = tmp_path / "temporary"
    place.mkdir()
    files = {name: members()[name] for name in ("c d/é.pt", "d.safetensors")}
    path = pack(tmp_path / kind, files)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(tensor_files, "_SMALL_BYTES", 100)
    monkeypatch.setattr(safetensors_members, "_BLOCK_BYTES", VALUES[0].nbytes)
    monkeypatch.delattr(Place, "content")
    found = opened(path)
    blocks = [block.clone() for block in found.blocks(64)]
    assert [len(block) for block in blocks] == [3, 1, 1, 1]
    np.testing.assert_array_equal(torch.cat(blocks).numpy(), np.concatenate([VALUES] * 2))
    np.testing.assert_array_equal(found[4].values, VALUES[1])
    assert not [*place.iterdir()]


def test_a_copy_is_removed_when_it_is_no_longer_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a system that refuses to remove what is mapped, as Windows does."""
    maps, place = Path("/proc/self/maps"), tmp_path / "temporary"
    if not maps.exists():
        pytest.skip("the system does not say what is mapped")
    place.mkdir()
    remove = shutil.rmtree

    def refuse(folder: Path, **how: Any) -> None:
        if str(folder) not in maps.read_text():
            remove(folder, **how)

    names = ("a.pt", "b.pt", "c.pt")
    path = pack(tmp_path / "x.tar", dict.fromkeys(names, members()["c d/é.pt"]))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(shutil, "rmtree", refuse)
    monkeypatch.setattr(tensor_files, "_SMALL_BYTES", 100)
    assert sum(len(block) for block in opened(path).blocks(64)) == 3 * len(VALUES)
    assert len([*place.iterdir()]) <= 2  # a block of the one before was held meanwhile
    tensor_files._forget_copies()
    assert not [*place.iterdir()]


def test_what_does_not_fit_into_the_temporary_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    path = pack(tmp_path / "x.tar", {"a.pt": members()["c d/é.pt"]})
    monkeypatch.setattr(tensor_files, "_SMALL_BYTES", 100)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    called = cli("store", "stats", path)
    assert called.code == 3
    assert "set TMPDIR to a larger disk" in called.error


def test_a_packed_member_that_does_not_fit_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(
        tmp_path / "x.zip",
        {"a.npz": members()["/absolute/b.npz"], "b.npy": members()["../../outside.npy"]},
    )
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    found = opened(path)
    assert len(found) == len(VALUES)
    assert "set TMPDIR to a larger disk" in found.faults["x.zip/a.npz"]


@pytest.mark.parametrize("kind", ["x.tar", "a.safetensors"])
def test_numbers_of_an_unknown_type_are_named_and_the_rest_is_read(
    tmp_path: Path, kind: str
) -> None:
    """Torch has no tensor of single F4 numbers, of which two share a byte."""
    content = save({"latents": torch.from_numpy(VALUES)})
    end = len(content) - 8 - int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : len(content) - end])
    head["quantized"] = {"dtype": "F4", "shape": [3, 8], "data_offsets": [end, end + 12]}
    header = json.dumps(head).encode()
    content = len(header).to_bytes(8, "little") + header + content[-end:] + bytes(12)
    if kind == "x.tar":
        path, name = pack(tmp_path / kind, {"a.safetensors": content}), "x.tar/a.safetensors"
    else:
        path, name = tmp_path / kind, kind
        path.write_bytes(content)
    found = opened(path)
    np.testing.assert_array_equal(torch.cat([*found.blocks(64)]).numpy(), VALUES)
    assert found.faults[f"{name}:quantized"] == "not read; it has numbers of type F4"


def test_a_file_of_torch_in_its_old_format_in_an_archive_is_read(tmp_path: Path) -> None:
    old = io.BytesIO()
    torch.save(torch.from_numpy(VALUES), old, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(
        opened(pack(tmp_path / "x.tar", {"a.pt": old.getvalue()}))[2].values, VALUES[2]
    )


def tensors_of(tmp_path: Path, content: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file that is read as a member of an archive."""
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    place = Place(file, "x.tar/a.safetensors", len(content), lambda: file.open("rb"))
    return {array.name: array.whole() for array in arrays_in(place)}


def test_members_in_safetensors_equal_what_its_library_reads(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    floats = torch.randn(5, 3, 2, generator=generator)
    names = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64"]
    names += ["uint8", "bool", "float8_e4m3fn"]
    content = save(
        {name: floats.mul(9).to(getattr(torch, name)) for name in names}
        | {"one": torch.tensor(7.5), "none": torch.zeros(0, 4)},
        {"format": "pt"},
    )
    found, right = tensors_of(tmp_path, content), load(content)
    assert found.keys() == right.keys()
    for name, values in right.items():
        if name not in ("one", "none"):
            assert torch.equal(found[name].view(torch.uint8), values.view(torch.uint8)), name
            assert found[name].shape == values.shape


BAD_HEADERS = {
    "overlap": {"a": ("F32", [2], [0, 8]), "b": ("F32", [2], [4, 12])},
    "gap": {"a": ("F32", [2], [0, 8]), "b": ("F32", [1], [12, 16])},
    "size": {"a": ("F32", [3], [0, 8])},
    "negative": {"a": ("F32", [-2], [0, 8])},
    "backwards": {"a": ("F32", [2], [8, 0])},
    "beyond": {"a": ("F32", [2000], [0, 8000])},
    "text": {"a": ("F32", ["2"], [0, 8])},
    "missing": {"a": ("F32", [2])},
    "number": 7,
    "list": [1, 2],
    "pairs": [["a", [["dtype", "F32"], ["shape", [2]], ["data_offsets", [0, 8]]]]],
    "list of a tensor": {"a": [["dtype", "F32"], ["shape", [2]], ["data_offsets", [0, 8]]]},
    "kind": {"a": (32, [2], [0, 8])},
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_headers_that_the_library_of_safetensors_refuses_are_refused(
    tmp_path: Path, name: str
) -> None:
    heads = BAD_HEADERS[name]
    if isinstance(heads, dict) and isinstance(heads["a"], tuple):
        keys = ("dtype", "shape", "data_offsets")
        heads = {key: dict(zip(keys, head, strict=False)) for key, head in heads.items()}
    header = json.dumps(heads).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(16 if name == "gap" else 8)
    with pytest.raises(SafetensorError):
        load(content)
    with pytest.raises(FileError, match=r"x\.tar/a\.safetensors, which") as caught:
        tensors_of(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert "attribute" not in str(caught.value)


def test_what_a_header_says_beside_is_not_read(tmp_path: Path) -> None:
    head = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], "note": "x"}
    header = json.dumps({"a": head}).encode()
    content = len(header).to_bytes(8, "little") + header + np.float32([1, 2]).tobytes()
    assert tensors_of(tmp_path, content)["a"].tolist() == load(content)["a"].tolist() == [1, 2]


@pytest.mark.parametrize("content", [b"\x00" * 8, b"\xff" * 20, b"\x02" + bytes(7) + b"[[", b"abc"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        tensors_of(tmp_path, content)


def test_two_tensors_of_one_name_in_a_member_are_refused(tmp_path: Path) -> None:
    head = b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    header = b"{" + head + b"," + head.replace(b"[0, 4]", b"[4, 8]") + b"}"
    with pytest.raises(FileError, match="two arrays named a"):
        tensors_of(tmp_path, len(header).to_bytes(8, "little") + header + bytes(8))
