"""Pictures in tar files, as webdataset writes them; Python's own tarfile reads them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

from latentlab.errors import FileError, ImageError
from latentlab.images.pillow import PICTURE_SUFFIXES
from latentlab.store.sources import Entry


@dataclass(frozen=True)
class Tars:
    """The picture files in uncompressed tar files, in the order in which they lie there.

    Nothing is unpacked. A picture's path is ``<tar>/<name in it>``; hidden files and what is not
    a picture by its suffix are left out.

    Parameters
    ----------
    root : folder of the tar files
    names : of the tar files, in order
    """

    root: Path
    names: tuple[str, ...]

    kind: ClassVar[str] = "tar"

    def entries(self) -> Iterator[Entry]:
        for name in self.names:
            for inside, (_, size) in _members(self.root / name).items():
                yield Entry(f"{name}/{inside}", size)

    def read(self, path: str) -> bytes:
        name, _, inside = path.partition("/")
        try:
            if name not in self.names:
                raise KeyError(name)
            offset, size = _members(self.root / name)[inside]
        except KeyError as error:
            raise FileError(
                f"{path}, which is not in the tar files", "a picture in them", "put it back"
            ) from error
        if offset < 0:
            raise ImageError(
                f"{path}, packed as a sparse file", "a plain one", "pack it without tar's --sparse"
            )
        with (self.root / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)


@lru_cache(maxsize=1)
def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Return where each picture of a tar file begins and how long it is."""
    try:
        with tarfile.open(path, "r:") as archive:
            # A sparse file lies there in pieces, and begins nowhere.
            found = {
                member.name: (-1 if member.issparse() else member.offset_data, member.size)
                for member in archive
                if member.isreg() and _is_picture(PurePosixPath(member.name))
            }
            _check_end(path, archive.offset)
            return found
    except (tarfile.TarError, OSError) as error:
        raise ImageError(
            f"{path}, which cannot be read as a tar file ({error})",
            "a whole, uncompressed tar file",
            "copy it again, or unpack it into a folder",
        ) from error


def _check_end(path: Path, offset: int) -> None:
    """Raise ReadError unless an archive ends here: Python takes any damaged header for the end."""
    with path.open("rb") as file:
        file.seek(offset)
        end = file.read(2 * tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or any(end):
        raise tarfile.ReadError(f"no end where its last whole member ends, at byte {offset:,}")


def _is_picture(path: PurePosixPath) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
