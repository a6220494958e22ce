"""What is at a path: a store, or which kind of source. This module does not import torch."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from latentlab.errors import ImageError
from latentlab.machine.archives import PACKED, PARQUET, TAR, ZIPS
from latentlab.machine.files import exists
from latentlab.store.hub_datasets import MARK_OF_SPLITS, MARKS, DatasetRows
from latentlab.store.parquets import Parquets
from latentlab.store.sources import Folder, Source
from latentlab.store.tars import Tars
from latentlab.store.zips import Zips

MANIFEST = "store.json"
"""The file with the settings of a store."""


def is_store(path: str | Path) -> bool:
    """Return whether a path is a folder with a store's ``store.json``."""
    manifest = Path(path) / MANIFEST
    return exists(manifest) and manifest.is_file()


def open_source(path: str | Path, *, follow_links: bool = False) -> Source:
    """Return the images at a path.

    A folder is read with its subfolders. A tar, zip or parquet file is read without being unpacked,
    and so are such files in a folder without images: of several kinds the first of tar, zip and
    parquet is read, and the others are counted as left out. A folder that Hugging Face's
    ``datasets`` wrote is read as a data set.

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
    if not exists(place):
        raise _no_source(place)
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
        beside = tuple(name for names in packed[1:] for name in names)
        return _archives(place, packed[0], place, beside)
    return folder


def _packed_in(folder: Path) -> list[tuple[str, ...]]:
    """Return the archives in a folder, and parquet files below it, by kind; first what is read."""
    # Hidden ones are left out: macOS leaves files such as ._x.tar beside each tar file.
    suffixes = {TAR, *ZIPS, *PACKED}
    here = [file for file in folder.glob("[!.]*") if file.suffix.lower() in suffixes]
    below = folder.glob(f"**/[!.]*{PARQUET}")

    def of(*wanted: str) -> list[Path]:
        return [file for file in here if file.suffix.lower() in wanted]

    kinds = (of(TAR), of(*ZIPS), below, *map(of, PACKED))
    found = [
        tuple(sorted(one.relative_to(folder).as_posix() for one in files if one.is_file()))
        for files in kinds
    ]
    return [names for names in found if names]


def _archives(
    root: Path, names: tuple[str, ...], place: Path, beside: tuple[str, ...] = ()
) -> Source:
    suffix = Path(names[0]).suffix.lower()
    if suffix == TAR:
        return Tars(root, names, beside)
    if suffix in ZIPS:
        return Zips(root, names, beside)
    if suffix == PARQUET:
        return Parquets(root, names, beside)
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
