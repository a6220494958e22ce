"""Files that were made to fill the memory, or whose damage no reader expects: one line each."""

from __future__ import annotations

import io
import pickle
import resource
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from latentlab.errors import (
    FileError,
    ImageError,
    LatentlabError,
    MemoryLimitError,
    WeightsError,
)
from latentlab.images.fit import Fit
from latentlab.loaders import load_vae, pickles
from latentlab.loaders.weights import read_tensors
from latentlab.results.saving import load
from latentlab.store.arrays import Place
from latentlab.store.containers import arrays_in
from latentlab.store.foreign import open_latents
from latentlab.store.opening import open_source
from latentlab.store.preparing import prepare
from latentlab.store.reading import open_store
from latentlab.store.sources import Entry, left_out


def shared(levels: int) -> dict[str, Any]:
    """Return a mapping of ten keys a level that all lead to one tensor: 10^levels names."""
    found: dict[str, Any] = {"w": torch.zeros(1)}
    for _ in range(levels):
        found = {f"k{i}": found for i in range(10)}
    return found


def endless() -> dict[str, Any]:
    found: dict[str, Any] = {"w": torch.zeros(1)}
    found["again"] = found
    return found


def place(path: Path) -> Place:
    return Place(path, path.name, path.stat().st_size)


@pytest.fixture
def few_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentlab.loaders.pickles.MOST_ENTRIES", 1000)


@pytest.mark.usefixtures("few_entries")
def test_weights_with_countless_names_are_refused(tmp_path: Path) -> None:
    torch.save(shared(4), tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match=r"nested mappings with more than 1,000 entries"):
        read_tensors(tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match=r"nested mappings with more than 1,000 entries"):
        load_vae(shared(4))
    torch.save(shared(2), tmp_path / "b.ckpt")
    assert len(read_tensors(tmp_path / "b.ckpt")) == 100


@pytest.mark.usefixtures("few_entries")
@pytest.mark.parametrize("content", [shared(4), endless()], ids=["countless", "endless"])
def test_latents_with_countless_names_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"a\.pt, which holds more than .* inside one another"):
        arrays_in(place(tmp_path / "a.pt"))


FILL_MEMORY = {
    "memo": b"\x80\x02Nr\xff\xff\xff\xff0cfoo\nBar\n.",
    "bytes": b"\x80\x05cfoo\nBar\n\x96" + (2**36).to_bytes(8, "little") + b"abc0.",
}
"""Kind → a pickle that a careless reader allocates 64 GB for."""


@pytest.mark.parametrize("kind", FILL_MEMORY)
def test_a_few_bytes_never_fill_the_memory(kind: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))
    try:
        with suppress(EOFError):
            assert pickles._load(io.BytesIO(FILL_MEMORY[kind])).__name__ == "Bar"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_long_arrays_of_bytes_beside_weights_are_read() -> None:
    content = [bytearray(b"short"), bytearray(100_000)]
    assert pickles._load(io.BytesIO(pickle.dumps(content, 5))) == content


# Damaged archives


def png(number: int = 0) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).save(
        content, "png"
    )
    return content.getvalue()


def zip_with_damage(path: Path, members: dict[str, bytes], compression: int) -> Path:
    """Write files, the last of whose compressed bytes are damaged behind LZMA's options."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    content = bytearray(path.read_bytes())
    name = [*members][-1].encode()
    start = content.index(name) + len(name) + (9 if compression == zipfile.ZIP_LZMA else 0)
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_one_image_and_the_others_are_read(
    tmp_path: Path, compression: int
) -> None:
    images = {"a.png": png(), "b.png": png(1)}
    source = open_source(zip_with_damage(tmp_path / "x.zip", images, compression))
    assert [entry.path for entry in source.entries()] == ["x.zip/a.png", "x.zip/b.png"]
    assert not prepare(source, Fit(4), "x.zip/a.png").problem
    assert "cannot be unpacked" in prepare(source, Fit(4), "x.zip/b.png").problem


def test_a_member_that_cannot_be_opened_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a.png", ".", "unknown", "secret"):
            archive.writestr(name, png())
    content = bytearray((tmp_path / "x.zip").read_bytes())
    for name, field, value in ((b"unknown", 10, 77), (b"secret", 8, 1)):
        entry = content.rindex(name) - 46
        content[entry + field] = value
        content[content.index(name) - 30 + field - 2] = value
    (tmp_path / "x.zip").write_bytes(content)
    source = open_source(tmp_path / "x.zip")
    assert [entry.path for entry in source.entries()] == ["x.zip/a.png", "x.zip/."]
    assert left_out(source) == {"member that cannot be unpacked": 2}


def test_weights_whose_list_of_members_is_gone_are_damaged(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start : start + 40] = bytes(40)
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="truncated or not a weights file"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_array_names_its_file(tmp_path: Path, compression: int) -> None:
    array = io.BytesIO()
    np.save(array, np.random.default_rng(0).standard_normal((3, 4, 6, 6)))
    zip_with_damage(tmp_path / "x.npz", {"latents.npy": array.getvalue()}, compression)
    with pytest.raises(FileError, match=r"x\.npz, which cannot be read"):
        arrays_in(place(tmp_path / "x.npz"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_last_is_read_whole(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in (("a.png", b"short"), ("b", png()), ("a.png", png(1)), ("b", b"text")):
            archive.writestr(name, content)
    source = open_source(tmp_path / "x.zip")
    assert [*source.entries()] == [Entry("x.zip/a.png", len(png(1)))]
    assert source.read("x.zip/a.png") == png(1)
    assert left_out(source) == {"member whose name comes again": 2, "without suffix": 1}


def test_archives_of_other_kinds_in_a_folder_are_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(member := tarfile.TarInfo("a.png"), io.BytesIO())
        archive.addfile(member.replace(name="a.txt"), io.BytesIO())
    for name in ("b.zip", "c.cbz", "d.parquet", "e.tar.gz", "._f.zip"):
        (tmp_path / name).touch()
    source = open_source(tmp_path)
    assert [entry.path for entry in source.entries()] == ["a.tar/a.png"]
    expected = {".zip": 1, ".cbz": 1, ".parquet": 1, ".gz": 1, ".txt": 1}
    assert left_out(source) == expected


def test_comic_books_in_a_folder_are_read(tmp_path: Path) -> None:
    for name in ("a.cbz", "b.ZIP"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("page.png", png())
    found = [entry.path for entry in open_source(tmp_path).entries()]
    assert found == ["a.cbz/page.png", "b.ZIP/page.png"]


# Parquet files


def parquet(path: Path, images: list[bytes], **options: Any) -> Path:
    from pyarrow import table
    from pyarrow.parquet import write_table

    write_table(table({"image": [{"bytes": one, "path": None} for one in images]}), path, **options)
    return path


@pytest.mark.parametrize("dictionary", [False, True], ids=["compressed", "repeated"])
def test_a_row_group_that_unpacks_to_many_times_its_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool
) -> None:
    monkeypatch.setattr("latentlab.store.parquets._FREE_BYTES", 2**16)
    image = png() + (b"" if dictionary else bytes(2**17))
    count = 2000 if dictionary else 2
    options = {"use_dictionary": dictionary, "compression": "zstd"}
    path = parquet(tmp_path / "a.parquet", [image] * count, **options)
    with pytest.raises(ImageError, match="row group of which unpacks from"):
        [*open_source(path).entries()]


def test_a_row_group_larger_than_the_memory_says_how_to_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path / "a.parquet", [png(number) for number in range(9)])
    monkeypatch.setattr("latentlab.store.parquets._MOST_BYTES", 1500)
    with pytest.raises(ImageError, match="smaller row groups"):
        [*open_source(path).entries()]
    small = parquet(tmp_path / "b.parquet", [png(number) for number in range(9)], row_group_size=2)
    assert [entry.size for entry in open_source(small).entries()] == [len(png(n)) for n in range(9)]


def test_damaged_rows_are_an_image_error(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [png(n) for n in range(99)], data_page_size=500)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = b"\xff" * 3000
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"whole parquet file.*download it again"):
        [*open_source(path).entries()]


def test_a_list_of_tensors_that_does_not_fit_is_refused_before_it_is_stacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand views of one tensor take 40 KB in a file, and 40 MB once they are stacked."""
    tensor = torch.zeros(16, 25, 25)
    torch.save([tensor] * 1000, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size < 200_000
    monkeypatch.setenv("LATENTLAB_MEMORY_GB", "0.01")
    with pytest.raises(MemoryLimitError, match=r"list of 1,000 tensors in a\.pt"):
        arrays_in(place(tmp_path / "a.pt"))
    monkeypatch.delenv("LATENTLAB_MEMORY_GB")
    assert arrays_in(place(tmp_path / "a.pt"))[0].shape == (1000, 16, 25, 25)


@pytest.mark.parametrize(
    "name", ["~\0", "a\0b", "a" * 300, "a/" * 3000], ids=["home", "null", "long", "deep"]
)
@pytest.mark.parametrize("read", [load_vae, load, open_latents, open_source, open_store])
def test_names_that_no_file_can_have_are_refused(read: Callable[[str], Any], name: str) -> None:
    with pytest.raises(LatentlabError):
        read(name)
