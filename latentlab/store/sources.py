"""Where pictures come from: an ordered list of keys, and the bytes behind each key.

A source is small and can be pickled: worker processes get a copy and read the pictures
themselves. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol

from latentlab.errors import FileError, ImageError
from latentlab.images.pillow import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Entry:
    """One picture of a source.

    Parameters
    ----------
    path : str, what the source calls it; bytes that are no text are surrogates (PEP 383)
    size : int, bytes of the file
    """

    path: str
    size: int


class Source(Protocol):
    """Pictures in an order that never changes while they do not."""

    kind: ClassVar[str]

    def entries(self) -> Iterator[Entry]:
        """Yield every picture."""

    def read(self, path: str) -> bytes:
        """Return the bytes of the picture's file; OSError where it cannot be read."""


@dataclass(frozen=True)
class Folder:
    """The picture files below a folder, by suffix, sorted by name, folder by folder.

    Hidden files and folders are left out, and so are links that lead out of the folder; links to
    folders are not followed.
    """

    root: Path

    kind: ClassVar[str] = "folder"

    def entries(self) -> Iterator[Entry]:
        yield from self._below(self.root.resolve(), "")

    def _below(self, top: Path, inside: str) -> Iterator[Entry]:
        # Names only: a folder of a million pictures should not need a million objects.
        for name in sorted(_names_in(top / inside)):
            path = f"{inside}/{name}" if inside else name
            file = top / path
            if name.startswith("."):
                continue
            if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file():
                if not file.is_symlink() or _leads_inside(file, top):
                    yield Entry(path, file.stat().st_size)
            elif file.is_dir() and not file.is_symlink():
                yield from self._below(top, path)

    def read(self, path: str) -> bytes:
        return safe_path(self.root, path).read_bytes()


def _names_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError as error:
        raise ImageError(
            f"{folder}, which cannot be read ({error.strerror})",
            "a readable folder",
            "change its permissions",
        ) from error


def safe_path(root: Path, path: str) -> Path:
    """Return the file that a relative path names below a folder.

    Raises
    ------
    FileError : the path is absolute or leads out of the folder; it is never opened then.
    """
    relative = PurePosixPath(path)
    file = root / relative
    outside = relative.is_absolute() or ".." in relative.parts
    if outside or not _leads_inside(file, root.resolve()):
        raise FileError(
            f"{path!r}, which leads out of its folder",
            f"a path inside {root}",
            "do not use this store's list",
        )
    return file


def _leads_inside(link: Path, top: Path) -> bool:
    try:
        return link.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # a loop of links, which is a RuntimeError until Python 3.13
        return False
