"""What is at a path: a store, or which kind of source. This module does not import torch."""

from __future__ import annotations

from pathlib import Path

from latentlab.errors import ImageError
from latentlab.store.hub_datasets import MARK_OF_SPLITS, MARKS, DatasetRows
from latentlab.store.sources import Folder, Source
from latentlab.store.tars import Tars

MANIFEST = "store.json"
"""The file with the settings of a store."""


def is_store(path: str | Path) -> bool:
    """Return whether a path is a folder with a store's ``store.json``."""
    return (Path(path) / MANIFEST).is_file()


def open_source(path: str | Path) -> Source:
    """Return the images at a path.

    A folder is read with its subfolders. A tar file is read without being unpacked, and so are the
    tar files in a folder without images. A folder that Hugging Face's ``datasets`` wrote is read
    as a data set.

    Raises
    ------
    ImageError : none of these is there, or it is a data set with splits, each of which is a source
        of its own.
    """
    place = Path(path)
    if place.is_file() and place.suffix == ".tar":
        return Tars(place.parent, (place.name,))
    if not place.is_dir():
        raise ImageError(
            f"{place}, which is neither a folder nor a tar file",
            "a folder or a tar file of images",
            "check the path",
        )
    if all((place / mark).is_file() for mark in MARKS):
        return DatasetRows(place)
    if (place / MARK_OF_SPLITS).is_file():
        splits = sorted(part.name for part in place.iterdir() if (part / MARKS[0]).is_file())
        raise ImageError(
            f"{place}, a data set with splits ({', '.join(splits) or 'none'})",
            "one of them",
            f"name {place / (splits[0] if splits else 'train')}",
        )
    # Hidden ones are left out: macOS leaves files such as ._x.tar beside each tar file.
    tars = tuple(sorted(file.name for file in place.glob("[!.]*.tar") if file.is_file()))
    if tars and next(Folder(place).entries(), None) is None:
        return Tars(place, tars)
    return Folder(place)
