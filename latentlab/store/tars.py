"""Images in tar files such as those of webdataset, read with Python's own tarfile."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import ClassVar

from latentlab.errors import FileError, ImageError
from latentlab.store.sources import Entry, is_image


@dataclass(frozen=True)
class Tars:
    """The image files in uncompressed tar files, in their order there.

    Nothing is unpacked. The path of an image is ``<tar>/<name in it>``. Hidden files and files
    without the suffix of an image are left out.

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
        found = _members(self.root / name).get(inside) if name in self.names else None
        if found is None:
            raise FileError(
                f"{path}, which is not in the tar files", "an image in them", "put it back"
            )
        offset, size = found
        if offset < 0:
            raise ImageError(
                f"{path}, packed as a sparse file", "a plain one", "pack it without tar's --sparse"
            )
        with (self.root / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)


@lru_cache(maxsize=1)
def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Return the offset and size in bytes of each image in a tar file."""
    try:
        with tarfile.open(path, "r:") as archive:
            # A sparse file is stored in pieces, so that it has no offset.
            found = {
                member.name: (-1 if member.issparse() else member.offset_data, member.size)
                for member in archive
                if member.isreg() and is_image(PurePosixPath(member.name))
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
    """Raise ReadError unless an archive ends here: Python takes a damaged header for the end."""
    with path.open("rb") as file:
        file.seek(offset)
        end = file.read(2 * tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or any(end):
        raise tarfile.ReadError(f"no end where its last whole member ends, at byte {offset:,}")
