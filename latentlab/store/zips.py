"""Images in zip files, read without being unpacked."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

from latentlab.errors import FileError, ImageError
from latentlab.images.formats import HEAD, count_files, is_image, kind_of_file
from latentlab.machine.files import ARCHIVE_DAMAGE, FileState, state_of
from latentlab.store.sources import Entry

_MOST_BYTES = 2**30
"""No image file is larger; a member that claims to be would fill the memory."""


@dataclass(frozen=True)
class Zips:
    """The image files in zip files, in their order there.

    Nothing is unpacked. The path of an image is ``<zip>/<name in it>``. Hidden files are left out.

    Parameters
    ----------
    root : folder of the zip files
    names : of the zip files, in order
    beside : names of archives of other kinds there, which are not read
    """

    root: Path
    names: tuple[str, ...]
    beside: tuple[str, ...] = ()

    kind: ClassVar[str] = "zip"

    def entries(self) -> Iterator[Entry]:
        for name in self.names:
            for inside, member in _members(self.root / name)[0].items():
                yield Entry(f"{name}/{inside}", member.file_size)

    def left_out(self) -> Mapping[str, int]:
        """Return kind → number of the members that are no images, and of the files beside."""
        return sum((_members(self.root / name)[1] for name in self.names), count_files(self.beside))

    def read(self, path: str) -> bytes:
        name, _, inside = path.partition("/")
        member = _members(self.root / name)[0].get(inside) if name in self.names else None
        if member is None:
            raise FileError(
                f"{path}, which is not in the zip files", "an image in them", "put it back"
            )
        size = member.file_size
        if size > _MOST_BYTES:
            raise ImageError(
                f"{path}, which claims {size / 1e9:,.1f} GB", "an image file", "do not trust it"
            )
        try:
            with open_zip(self.root / name).open(member) as file:
                return file.read(size)
        except ARCHIVE_DAMAGE as error:
            raise ImageError(
                f"{path}, which cannot be unpacked ({error})", "a whole member", "copy it again"
            ) from error


def open_zip(path: Path) -> zipfile.ZipFile:
    """Return a zip file, which stays open until another one is asked for, or it is written anew."""
    return _opened(path, state_of(path))


@lru_cache(maxsize=1)
def _opened(path: Path, _: FileState) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _members(path: Path) -> tuple[dict[str, zipfile.ZipInfo], Counter[str]]:
    """Return the image behind each name in a zip file, and the kinds of other members.

    Of several members of one name the last counts, as it stays when they are unpacked.
    """
    return _members_of(path, state_of(path))


@lru_cache(maxsize=1)
def _members_of(path: Path, _: FileState) -> tuple[dict[str, zipfile.ZipInfo], Counter[str]]:
    found: dict[str, zipfile.ZipInfo] = {}
    others: Counter[str] = Counter()
    try:
        archive = open_zip(path)
        last = {member.filename: member for member in archive.infolist()}
        for member in archive.infolist():
            name = PurePosixPath(member.filename)
            if member.is_dir() or name.name.startswith(".") or name.parts[:1] == ("__MACOSX",):
                continue
            if member is not last[member.filename]:
                others["member whose name comes again"] += 1
            elif (what := _kind(archive, name, member)) is None:
                found[member.filename] = member
            else:
                others[what] += 1
    except ARCHIVE_DAMAGE as error:
        raise ImageError(
            f"{path}, which cannot be read as a zip file ({error})",
            "a whole zip file without a password",
            "copy it again, or unpack it into a folder",
        ) from error
    return found, others


def _kind(archive: zipfile.ZipFile, name: PurePosixPath, member: zipfile.ZipInfo) -> str | None:
    """Return how a member that is no image is counted; None for an image."""
    try:
        return None if is_image(name, partial(_head, archive, member)) else kind_of_file(name)
    except ARCHIVE_DAMAGE:
        return "member that cannot be unpacked"


def _head(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        return file.read(HEAD)
