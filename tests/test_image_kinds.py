"""Content decides which files are images; what is left out is counted, with the reason."""

from __future__ import annotations

import io
import sys
import tarfile
import types
import zipfile
from pathlib import Path, PurePath
from typing import Any

import pytest
import torch
from command_line import CommandLine
from image_folders import fill, make_folder, save_smooth
from PIL import Image
from test_cli_bad_input import refused
from test_store_sources import latents_by_path

from latentlab.errors import FileError, ImageError, MissingExtraError
from latentlab.images.checking import list_images
from latentlab.images.fit import Fit
from latentlab.images.formats import extra_format, is_image, open_image
from latentlab.store.opening import open_source
from latentlab.store.preparing import prepare
from latentlab.store.reading import open_store
from latentlab.store.sources import Folder, left_out
from latentlab.store.zips import Zips

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)
JXL = b"\xff\x0a" + bytes(300)
SAVED = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "AVIF", "MPO", "SGI", "QOI")


@pytest.mark.parametrize("kind", SAVED)
def test_the_first_bytes_of_what_pillow_writes_are_known(kind: str) -> None:
    content = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(content, kind)
    assert is_image(PurePath("download"), content.getvalue)


@pytest.mark.parametrize(
    "content",
    [b"", b"a photo of a cat", b"BM is a name", b"P7 too", b"PK\3\4" + bytes(60), bytes(64)],
)
def test_other_files_are_no_images(content: bytes) -> None:
    assert not is_image(PurePath("download"), lambda: content)


def test_names_alone_decide_about_raw_photos_and_captions() -> None:
    tiff = b"II*\0" + bytes(60)  # most raw formats are TIFF, whose first image is a thumbnail
    for name in ("a.dng", "a.NEF", "a.txt", "a.json", ".hidden"):
        assert not is_image(PurePath(name), lambda: tiff)
    assert is_image(PurePath("a.unknown"), lambda: tiff)


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """Return a phone's folder: six images under odd names, two that need an extra, two others."""
    folder = tmp_path / "phone"
    folder.mkdir()
    for name, kind in (
        *(("a.jpe", "JPEG"), ("b.mpo", "MPO"), ("c.jpg_large", "JPEG"), ("d.apng", "PNG")),
        *(("e.dib", "DIB"), ("nosuffix", "PNG")),
    ):
        Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(folder / name, kind)
    (folder / "x.HEIC").write_bytes(HEIC)
    (folder / "y.jxl").write_bytes(JXL)
    (folder / "notes.txt").touch()
    (folder / "z.cr2").write_bytes(b"II*\0" + bytes(60))
    return folder


def test_a_folder_takes_what_pillow_reads_and_lists_the_rest(
    phone: Path, tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    found = cli("encode", phone, "--out", tmp_path / "s", "-m", "linear", "--size", "32")
    assert found.code == 0
    for line in ("skipped: 2", "1: a HEIC image, which needs an extra", "'latentlab[jxl]'"):
        assert line in found.out
    assert "left out (no images, or links not followed): 1 .cr2, 1 .txt" in found.out
    store = open_store(tmp_path / "s")
    assert len(store) == 6
    assert [line["path"] for line in store.skips()] == ["x.HEIC", "y.jxl"]
    assert store.summary()["left_out"] == {".cr2": 1, ".txt": 1}
    assert len(list_images(phone)) == 8


def test_nothing_but_heic_ends_with_code_3(
    phone: Path, tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "heic").mkdir()
    for number in range(3):
        (tmp_path / f"heic/{number}.heic").write_bytes(HEIC)
    found = cli("encode", tmp_path / "heic", "--out", tmp_path / "s", "-m", "linear", "-q")
    assert found.code == 3


def test_the_extra_reads_what_was_skipped_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "photos", 2)
    (folder / "x.heic").write_bytes(HEIC)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    fill(folder, tmp_path / "store")
    assert open_store(tmp_path / "store").skipped == 1
    plugin: Any = types.ModuleType("pillow_heif")
    monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
    monkeypatch.setattr(Image, "ID", [*Image.ID])

    def opened(file: Any, name: Any = None) -> Image.Image:
        return Image.new("RGB", (32, 24), (200, 10, 10))

    plugin.register_heif_opener = lambda: Image.register_open(
        "HEIF", opened, lambda head: head[4:12] == b"ftypheic"
    )
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    fill(folder, tmp_path / "store")
    assert (len(open_store(tmp_path / "store")), open_store(tmp_path / "store").skipped) == (3, 0)


def test_real_extras_read_real_images(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    pytest.importorskip("pillow_jxl")
    heif.register_heif_opener()
    ramp = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    for name in ("a.heic", "b.jxl"):
        ramp.save(tmp_path / name, quality=95)
        assert extra_format((tmp_path / name).read_bytes()[:64])
        with open_image(tmp_path / name, name) as image:
            assert image.size == (64, 48)


def test_a_heic_image_without_its_extra_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(HEIC)
    with pytest.raises(MissingExtraError, match=r"latentlab\[heic\]"):
        open_image(tmp_path / "a.heic", "a.heic")


# Archives


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    photos = make_folder(tmp_path / "photos", 5, bad=True)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in Folder(photos).entries():
            archive.write(photos / entry.path, f"in/{entry.path}")
        archive.writestr("in/notes.txt", "no image")
        archive.writestr("__MACOSX/in/._000.png", b"a fork")
    return tmp_path / "x.zip"


def test_zip_files_give_the_latents_of_the_folder(zipped: Path, tmp_path: Path) -> None:
    fill(tmp_path / "photos", tmp_path / "folder")
    fill(zipped, tmp_path / "store", workers=1)
    plain, packed = latents_by_path(tmp_path / "folder"), latents_by_path(tmp_path / "store")
    assert {path.removeprefix("x.zip/in/") for path in packed} == {*plain}
    for path, latent in packed.items():
        torch.testing.assert_close(latent, plain[path.removeprefix("x.zip/in/")], rtol=0, atol=0)
    assert open_store(tmp_path / "store").manifest.left_out == {".txt": 1}
    with pytest.raises(FileError, match="not in the zip files"):
        open_source(zipped).read("x.zip/../photos/000.png")


def test_a_member_that_claims_to_be_huge_is_never_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(2000))
    monkeypatch.setattr("latentlab.store.zips._MOST_BYTES", 1000)
    assert "claims" in prepare(Zips(tmp_path, ("x.zip",)), Fit(4), "x.zip/a.png").problem


def test_a_truncated_zip_file_is_refused(zipped: Path) -> None:
    zipped.write_bytes(zipped.read_bytes()[:-30])
    with pytest.raises(ImageError, match="whole zip file"):
        [*open_source(zipped).entries()]


def parquet(folder: Path, photos: Path, columns: int = 1) -> Path:
    """Write the images of a folder as a download of the hub has them, two rows in a group."""
    from pyarrow import Table
    from pyarrow.parquet import write_table

    contents = [(photos / entry.path).read_bytes() for entry in Folder(photos).entries()]
    images = [{"bytes": content, "path": None} for content in contents]
    names = ["image", "other"][:columns]
    table = Table.from_pydict({**dict.fromkeys(names, images), "label": [0] * len(images)})
    (folder / "data").mkdir(parents=True)
    write_table(table, folder / "data/train-00000.parquet", row_group_size=2)
    (folder / "README.md").touch()
    return folder


def test_parquet_files_give_the_latents_of_the_folder(tmp_path: Path) -> None:
    photos = make_folder(tmp_path / "photos", 5, bad=True)
    hub = parquet(tmp_path / "hub", photos)
    fill(photos, tmp_path / "folder")
    fill(hub, tmp_path / "store", workers=1)
    plain, rows = latents_by_path(tmp_path / "folder"), latents_by_path(tmp_path / "store")
    torch.testing.assert_close([*rows.values()], [*plain.values()], rtol=0, atol=0)
    assert next(iter(rows)) == "data/train-00000.parquet#0"
    with pytest.raises(FileError, match="a row of them"):
        open_source(hub).read("data/train-00000.parquet#99")


def test_parquet_files_of_other_kinds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_folder(tmp_path / "photos", 2)
    two = parquet(tmp_path / "two", photos, 2)
    with pytest.raises(ImageError, match=r"2 columns of images \(image.bytes, other.bytes\)"):
        [*open_source(two).entries()]
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ImageError, match="whole parquet file"):
        [*open_source(tmp_path / "cut.parquet").entries()]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"latentlab\[datasets\]"):
        [*open_source(tmp_path / "cut.parquet").entries()]


def test_compressed_tar_files_name_the_command_that_unpacks_them(
    tmp_path: Path, cli: CommandLine
) -> None:
    (tmp_path / "in").mkdir()
    tarfile.open(tmp_path / "in/x.tar.gz", "w:gz").close()
    refused(cli("encode", "in/x.tar.gz", "--out", "s"), 3, "tar xf in/x.tar.gz")
    refused(cli("encode", "in", "--out", "s"), 3, "tar xf in/x.tar.gz")
    save_smooth(tmp_path / "in/a.png", seed=0)
    assert left_out(open_source(tmp_path / "in")) == {".gz": 1}


def test_members_of_tar_files_are_images_by_their_content(tmp_path: Path) -> None:
    save_smooth(tmp_path / "a.png", seed=0).rename(tmp_path / "nosuffix")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "nosuffix", "nosuffix")
        archive.addfile(tarfile.TarInfo("b.txt"))
    source = open_source(tmp_path / "x.tar")
    assert [entry.path for entry in source.entries()] == ["x.tar/nosuffix"]
    assert left_out(source) == {".txt": 1}
