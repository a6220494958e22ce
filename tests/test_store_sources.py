"""Images in tar files and data sets: the same latents as from a folder."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine, files_in
from image_folders import fill, make_folder
from pyarrow import parquet, table
from test_cli_bad_input import refused

from latentlab.errors import FileError, ImageError, MissingExtraError
from latentlab.images.fit import Fit
from latentlab.store import hub_datasets
from latentlab.store.opening import open_source
from latentlab.store.preparing import prepare
from latentlab.store.reading import open_store
from latentlab.store.sources import Folder
from latentlab.store.tars import Tars


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("place") / "photos", 9, bad=True)


def pack(photos: Path, tars: Path, count: int = 2) -> Path:
    """Write the images of a folder into tar files, in turn, with labels between them."""
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


def test_a_single_tar_file_is_a_source(photos: Path, tmp_path: Path) -> None:
    tars = pack(photos, tmp_path / "tars", 1)
    found = [*open_source(tars / "train-0.tar").entries()]
    expected = [*Folder(photos).entries()]
    assert [entry.path.partition("/")[2] for entry in found] == [entry.path for entry in expected]
    assert [entry.size for entry in found] == [entry.size for entry in expected]


def test_hidden_members_and_members_that_are_not_files_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("d.png", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo("._b.png"))
    assert [*open_source(tmp_path / "x.tar").entries()] == []


def damage_tar(kind: str, content: bytes, offset: int) -> bytes:
    """Return a tar file damaged at the header of its second image."""
    block = tarfile.BLOCKSIZE
    header, rest = content[offset : offset + block], content[offset + block :]
    return (
        content[:offset]
        + {
            "bit": bytes([header[0] ^ 1]) + header[1:] + rest,
            "zero": bytes(block) + rest,
            "cut before": b"",
            "cut inside": header[:100],
        }[kind]
    )


@pytest.mark.parametrize("kind", ["bit", "zero", "cut before", "cut inside"])
def test_a_truncated_tar_file_is_refused(kind: str, photos: Path, tmp_path: Path) -> None:
    tar = pack(photos, tmp_path / "tars", 1) / "train-0.tar"
    with tarfile.open(tar) as archive:
        offset = archive.getmembers()[2].offset
    tar.write_bytes(damage_tar(kind, tar.read_bytes(), offset))
    with pytest.raises(ImageError, match="whole, uncompressed tar file"):
        [*open_source(tar).entries()]


def test_a_sparse_member_is_skipped_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(b"BM" + bytes(2**20) + b"x")
    packed = ["tar", "--sparse", "-cf", "x.tar", "a.bmp"]
    with (tmp_path / "a.bmp").open("r+b") as file:
        file.truncate(2)
        file.truncate(2**20)
    subprocess.run(packed, cwd=tmp_path, check=True)
    source = open_source(tmp_path / "x.tar")
    (entry,) = source.entries()
    assert "sparse" in prepare(source, Fit(4), entry.path).problem


def test_hidden_tar_files_are_left_out(photos: Path, tmp_path: Path) -> None:
    tars = pack(photos, tmp_path / "tars", 1)
    (tars / "._train-0.tar").write_bytes(b"what another system leaves")
    assert len([*open_source(tars).entries()]) == len([*open_source(photos).entries()])


@pytest.mark.parametrize("path", ["x.tar/no.png", "y.tar/a.png", "../x.tar/a.png"])
def test_only_what_is_in_the_tar_files_is_read(path: str, tmp_path: Path) -> None:
    tarfile.open(tmp_path / "x.tar", "w").close()
    with pytest.raises(FileError, match="not in the tar files"):
        Tars(tmp_path, ("x.tar",)).read(path)


@pytest.mark.parametrize("kind", ["text", "compressed"])
def test_other_files_are_refused_as_tar_files(kind: str, tmp_path: Path, cli: CommandLine) -> None:
    if kind == "text":
        (tmp_path / "x.tar").write_text("a photo of a cat")
    else:
        tarfile.open(tmp_path / "x.tar", "w:gz").close()
    refused(cli("encode", "x.tar", "--out", "s", "-m", "linear"), 3, "uncompressed tar file")


# Hugging Face's datasets


def save_images(folder: Path, columns: dict[str, list[dict[str, Any]]]) -> Path:
    """Save columns of images, as structs of bytes and path, as ``Dataset.save_to_disk`` does.

    The library would read the files that paths name. Therefore the columns are saved as structs
    and declared to be images afterwards.
    """
    from datasets import Dataset, Features, Value

    struct = {"bytes": Value("binary"), "path": Value("string")}
    features = Features({**dict.fromkeys(columns, struct), "label": Value("int64")})
    count = len(next(iter(columns.values())))
    Dataset.from_dict({**columns, "label": [1] * count}, features).save_to_disk(folder)
    facts = json.loads((folder / "dataset_info.json").read_text())
    for column in columns:
        facts["features"][column] = {"_type": "Image"}
    (folder / "dataset_info.json").write_text(json.dumps(facts))
    hub_datasets._rows_of.cache_clear()
    return folder


@pytest.fixture
def dataset(tmp_path: Path, photos: Path) -> Path:
    """Return a data set of the images; one row has only a path."""
    contents = [(photos / entry.path).read_bytes() for entry in Folder(photos).entries()]
    rows: list[dict[str, Any]] = [{"bytes": content, "path": None} for content in contents]
    rows.append({"bytes": None, "path": "/etc/passwd"})
    return save_images(tmp_path / "data", {"image": rows})


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


def test_a_data_set_may_be_made_from_paths_of_files(photos: Path, tmp_path: Path) -> None:
    from datasets import Dataset, Features, Image

    fill(photos, tmp_path / "folder")
    columns = {"image": [str(photos / path) for path in open_store(tmp_path / "folder").paths()]}
    Dataset.from_dict(columns, Features({"image": Image()})).save_to_disk(tmp_path / "data")
    hub_datasets._rows_of.cache_clear()
    fill(tmp_path / "data", tmp_path / "store")
    plain, rows = latents_by_path(tmp_path / "folder"), latents_by_path(tmp_path / "store")
    torch.testing.assert_close([*rows.values()], [*plain.values()], rtol=0, atol=0)


def test_a_data_set_with_splits_asks_for_one_of_them(photos: Path, tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = Dataset.from_dict({"label": [1]})
    DatasetDict(train=rows, test=rows).save_to_disk(tmp_path / "both")
    with pytest.raises(ImageError, match=r"splits \(test, train\).*both/test"):
        open_source(tmp_path / "both")


def test_a_data_set_without_the_library_names_the_extra(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"latentlab\[datasets\]"):
        [*open_source(dataset).entries()]


def test_a_data_set_of_several_columns_of_images_is_refused(tmp_path: Path) -> None:
    column = [{"bytes": b"", "path": None}]
    two = save_images(tmp_path / "two", {"a": column, "b": column})
    with pytest.raises(ImageError, match="2 columns"):
        [*open_source(two).entries()]


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_a_file_that_is_written_anew_is_listed_anew(kind: str, tmp_path: Path) -> None:
    path, written = tmp_path / f"x.{kind}", tmp_path / f"new.{kind}"
    for count in (1, 2):
        images = make_folder(tmp_path / str(count), count)
        write_packed(written, [*sorted(images.rglob("[!.]*.png"))][:count])
        written.replace(path)
        source = open_source(path)
        entries = [*source.entries()]
        assert len(entries) == count
        assert all(source.read(entry.path)[:4] == b"\x89PNG" for entry in entries)


def write_packed(path: Path, images: list[Path]) -> None:
    """Write image files into an archive, whose suffix says its kind."""
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for image in images:
                archive.add(image, arcname=image.name)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for image in images:
                packed.write(image, image.name)
    else:
        parquet.write_table(table({"image": [image.read_bytes() for image in images]}), path)
