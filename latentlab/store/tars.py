"""Images in tar files such as those of webdataset, read with Python's own tarfile."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar

from latentlab.errors import FileError, ImageError
from latentlab.images.formats import HEAD, count_files, is_image, kind_of_file
from latentlab.machine.files import ARCHIVE_DAMAGE, FileState, state_of
from latentlab.store.sources import Entry


@dataclass(frozen=True)
class Tars:
    """The image files in uncompressed tar files, in their order there.

    Nothing is unpacked. The path of an image is ``<tar>/<name in it>``. Hidden files are left out.

    Parameters
    ----------
    root : folder of the tar files
    names : of the tar files, in order
    beside : names of archives of other kinds there, which are not read
    """

    root: Path
    names: tuple[str, ...]
    beside: tuple[str, ...] = ()

    kind: ClassVar[str] = "tar"

    def entries(self) -> Iterator[Entry]:
        for name in self.names:
            for inside, (_, size) in _members(self.root / name)[0].items():
                yield Entry(f"{name}/{inside}", size)

    def left_out(self) -> Mapping[str, int]:
        """Return kind → number of the members that are no images, and of the files beside."""
        return sum((_members(self.root / name)[1] for name in self.names), count_files(self.beside))

    def read(self, path: str) -> bytes:
        name, _, inside = path.partition("/")
        found = _members(self.root / name)[0].get(inside) if name in self.names else None
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


def _members(path: Path) -> tuple[dict[str, tuple[int, int]], Counter[str]]:
    """Return offset and size in bytes of each image in a tar file, and kinds of other members."""
    return _members_of(path, state_of(path))


@lru_cache(maxsize=1)
def _members_of(path: Path, _: FileState) -> tuple[dict[str, tuple[int, int]], Counter[str]]:
    found: dict[str, tuple[int, int]] = {}
    others: Counter[str] = Counter()
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isdir() or name.name.startswith("."):
                    continue
                if not member.isreg():
                    others["link or device"] += 1
                elif is_image(name, partial(_head, path, member)):
                    # A sparse file is stored in pieces, so that it has no offset.
                    offset = -1 if member.issparse() else member.offset_data
                    found[member.name] = (offset, member.size)
                else:
                    others[kind_of_file(name)] += 1
            with path.open("rb") as file:
                check_end(file, archive.offset)
    except (tarfile.TarError, *ARCHIVE_DAMAGE) as error:
        raise ImageError(
            f"{path}, which cannot be read as a tar file ({error})",
            "a whole, uncompressed tar file",
            "copy it again, or unpack it into a folder",
        ) from error
    return found, others


def _head(path: Path, member: tarfile.TarInfo) -> bytes:
    with path.open("rb") as file:
        file.seek(member.offset_data)
        return file.read(HEAD)


def check_end(file: IO[bytes] | io.RawIOBase, offset: int) -> None:
    """Raise ReadError unless an archive ends here: Python takes a damaged header for the end."""
    file.seek(offset)
    end = file.read(2 * tarfile.BLOCKSIZE) or b""
    if len(end) < tarfile.BLOCKSIZE or any(end):
        raise tarfile.ReadError(f"no end where its last whole member ends, at byte {offset:,}")
