"""What is at a path: a store, or which kind of source. This module does not import torch."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from latentlab.errors import ImageError
from latentlab.store.hub_datasets import MARK_OF_SPLITS, MARKS, DatasetRows
from latentlab.store.parquets import Parquets
from latentlab.store.sources import Folder, Source
from latentlab.store.tars import Tars
from latentlab.store.zips import Zips

MANIFEST = "store.json"
"""The file with the settings of a store."""

PACKED = {
    **dict.fromkeys((".gz", ".bz2", ".xz", ".tgz", ".tbz2", ".txz"), "tar xf {}"),
    ".zst": "tar --zstd -xf {}",
    ".7z": "7z x {}",
    ".rar": "unrar x {}",
}
"""Suffix of archives that can only be read from their start → the command that unpacks one."""


def is_store(path: str | Path) -> bool:
    """Return whether a path is a folder with a store's ``store.json``."""
    return (Path(path) / MANIFEST).is_file()


def open_source(path: str | Path, *, follow_links: bool = False) -> Source:
    """Return the images at a path.

    A folder is read with its subfolders. A tar, zip or parquet file is read without being unpacked,
    and so are such files in a folder without images. A folder that Hugging Face's ``datasets``
    wrote is read as a data set.

    Parameters
    ----------
    path : str or Path
    follow_links : bool, whether links that lead out of a folder, or to folders, are followed

    Raises
    ------
    ImageError : none of these is there, or it is a compressed tar file, or a data set with splits,
        each of which is a source of its own.
    """
    place = Path(path)
    if place.is_file():
        return _archives(place.parent, (place.name,), place)
    if not place.is_dir():
        raise _no_source(place)
    if all((place / mark).is_file() for mark in MARKS):
        return DatasetRows(place)
    if (place / MARK_OF_SPLITS).is_file():
        splits = sorted(part.name for part in place.iterdir() if (part / MARKS[0]).is_file())
        raise ImageError(
            f"{place}, a data set with splits ({', '.join(splits) or 'none'})",
            "one of them",
            f"name {place / (splits[0] if splits else 'train')}",
        )
    folder = Folder(place, follow_links)
    packed = _packed_in(place)
    if packed and next(folder.entries(), None) is None:
        return _archives(place, packed, place)
    return folder


def _packed_in(folder: Path) -> tuple[str, ...]:
    """Return the archives of one kind in a folder: tar and zip files, or parquet files below it."""
    # Hidden ones are left out: macOS leaves files such as ._x.tar beside each tar file.
    for pattern in (
        "[!.]*.tar",
        "[!.]*.zip",
        "**/[!.]*.parquet",
        *(f"[!.]*{one}" for one in PACKED),
    ):
        names = (file.relative_to(folder) for file in folder.glob(pattern) if file.is_file())
        if found := tuple(sorted(name.as_posix() for name in names)):
            return found
    return ()


def _archives(root: Path, names: tuple[str, ...], place: Path) -> Source:
    suffix = Path(names[0]).suffix.lower()
    match suffix:
        case ".tar":
            return Tars(root, names)
        case ".zip" | ".cbz":
            return Zips(root, names)
        case ".parquet":
            return Parquets(root, names)
    if advice := PACKED.get(suffix):
        file = quote(str(root / names[0]))
        raise ImageError(
            f"{root / names[0]}, whose images cannot be read one by one",
            "a folder, or a tar, zip or parquet file of images",
            f"unpack it first: {advice.format(file)}",
        )
    raise _no_source(place)


def _no_source(place: Path) -> ImageError:
    return ImageError(
        f"{place}, which is neither a folder nor a tar, zip or parquet file",
        "a folder of images, or such a file",
        "check the path",
    )
