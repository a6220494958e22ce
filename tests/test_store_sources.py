"""Pictures in tar files and data sets: the same latents as from a folder."""

from __future__ import annotations

import io
import sys
import tarfile
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from command_line import CommandLine, files_in
from picture_folders import fill, make_folder
from test_cli_bad_input import refused

from latentlab.errors import FileError, ImageError, MissingExtraError
from latentlab.store import hub_datasets
from latentlab.store.opening import open_source
from latentlab.store.reading import open_store
from latentlab.store.sources import Folder
from latentlab.store.tars import Tars


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("place") / "photos", 9, bad=True)


def pack(photos: Path, tars: Path, count: int = 2) -> Path:
    """Write the pictures of a folder into tar files, in turn, with labels between them."""
    tars.mkdir()
    for part in range(count):
        with tarfile.open(tars / f"train-{part}.tar", "w") as archive:
            for entry in islice(Folder(photos).entries(), part, None, count):
                archive.add(photos / entry.path, arcname=entry.path)
                label = tarfile.TarInfo(entry.path + ".cls")
                label.size = 1
                archive.addfile(label, io.BytesIO(b"3"))
    return tars


def latents_by_path(store: Path) -> dict[str, torch.Tensor]:
    opened = open_store(store)
    latents = torch.cat([*opened.batches(4)])
    return dict(zip(opened.paths(), latents, strict=True))


def test_tar_files_give_the_latents_of_the_folder(photos: Path, tmp_path: Path) -> None:
    tars = pack(photos, tmp_path / "tars")
    fill(photos, tmp_path / "folder")
    fill(tars, tmp_path / "store", workers=2)
    assert open_store(tmp_path / "store").manifest.source == "tar"
    plain = latents_by_path(tmp_path / "folder")
    packed = latents_by_path(tmp_path / "store")
    assert {path.partition("/")[2] for path in packed} == {*plain}
    for path, latent in packed.items():
        torch.testing.assert_close(latent, plain[path.partition("/")[2]], rtol=0, atol=0)
    fill(tars, tmp_path / "again", workers=0)
    assert files_in(tmp_path / "again") == files_in(tmp_path / "store")


def test_one_tar_file_is_a_source_too(photos: Path, tmp_path: Path) -> None:
    tars = pack(photos, tmp_path / "tars", 1)
    found = [*open_source(tars / "train-0.tar").entries()]
    expected = [*Folder(photos).entries()]
    assert [entry.path.partition("/")[2] for entry in found] == [entry.path for entry in expected]
    assert [entry.size for entry in found] == [entry.size for entry in expected]


def test_members_that_are_no_files_or_hidden_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("d.png", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo("._b.png"))
    assert [*open_source(tmp_path / "x.tar").entries()] == []


@pytest.mark.parametrize("path", ["x.tar/no.png", "y.tar/a.png", "../x.tar/a.png"])
def test_only_what_is_in_the_tar_files_is_read(path: str, tmp_path: Path) -> None:
    tarfile.open(tmp_path / "x.tar", "w").close()
    with pytest.raises(FileError, match="not in the tar files"):
        Tars(tmp_path, ("x.tar",)).read(path)


@pytest.mark.parametrize("kind", ["text", "compressed"])
def test_other_files_are_no_tar_files(kind: str, tmp_path: Path, cli: CommandLine) -> None:
    if kind == "text":
        (tmp_path / "x.tar").write_text("a photo of a cat")
    else:
        tarfile.open(tmp_path / "x.tar", "w:gz").close()
    refused(cli("encode", "x.tar", "--out", "s", "-m", "linear"), 3, "uncompressed tar file")


# Hugging Face's datasets, by a stand-in with the same few names


class Rows:
    """A data set as ``load_from_disk`` returns it."""

    def __init__(self, features: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.features = features
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.rows[number]

    def cast_column(self, column: str, kind: Any) -> Rows:
        assert not kind.decode
        return self


class Image:
    """The feature for pictures."""

    def __init__(self, *, decode: bool = True) -> None:
        self.decode = decode


@pytest.fixture
def dataset(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that seems to be a data set of the pictures; one row has only a path."""
    contents = [(photos / entry.path).read_bytes() for entry in Folder(photos).entries()]
    rows = [{"image": {"bytes": content, "path": None}, "label": 1} for content in contents]
    rows.append({"image": {"bytes": None, "path": "/etc/passwd"}, "label": 1})
    module: Any = ModuleType("datasets")
    module.Image = Image
    module.load_from_disk = lambda path: Rows({"image": Image(), "label": int}, rows)
    monkeypatch.setitem(sys.modules, "datasets", module)
    (tmp_path / "data").mkdir()
    for name in hub_datasets.MARKS:
        (tmp_path / "data" / name).write_text("{}")
    hub_datasets._rows_of.cache_clear()
    return tmp_path / "data"


def test_a_data_set_gives_the_latents_of_the_folder(
    dataset: Path, photos: Path, tmp_path: Path
) -> None:
    fill(photos, tmp_path / "folder")
    fill(dataset, tmp_path / "store")
    plain, rows = latents_by_path(tmp_path / "folder"), latents_by_path(tmp_path / "store")
    torch.testing.assert_close([*rows.values()], [*plain.values()], rtol=0, atol=0)
    assert open_store(tmp_path / "store").skipped == 4 + 1
    with pytest.raises(FileError, match="row"):
        open_source(dataset).read("99")


def test_a_data_set_without_the_library_names_the_extra(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"latentlab\[datasets\]"):
        [*open_source(dataset).entries()]


def test_a_data_set_of_several_columns_of_pictures_is_refused(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = Rows({"a": Image(), "b": Image()}, [])
    monkeypatch.setattr(sys.modules["datasets"], "load_from_disk", lambda path: two)
    with pytest.raises(ImageError, match="2 columns"):
        [*open_source(dataset).entries()]
