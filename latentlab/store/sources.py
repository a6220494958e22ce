"""Sources of images: an ordered list of paths, and the bytes behind each path.

A source is small and can be pickled: each worker process gets a copy and reads the images
itself. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import ClassVar, Protocol

from latentlab.errors import FileError, ImageError
from latentlab.images.pillow import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Entry:
    """One image of a source.

    Parameters
    ----------
    path : str, its name in the source; bytes that are not text become surrogates (PEP 383)
    size : int, bytes of the file
    """

    path: str
    size: int


class Source(Protocol):
    """Images whose order does not change as long as they do not."""

    kind: ClassVar[str]

    def entries(self) -> Iterator[Entry]:
        """Yield every image."""

    def read(self, path: str) -> bytes:
        """Return the bytes of an image's file; OSError if it cannot be read."""


@dataclass(frozen=True)
class Folder:
    """The image files in a folder and its subfolders, by suffix, sorted by name in each folder.

    Left out are hidden files and folders, and links that lead out of the folder; links to folders
    are not followed.
    """

    root: Path

    kind: ClassVar[str] = "folder"

    def entries(self) -> Iterator[Entry]:
        yield from self._below(self.root.resolve(), "")

    def _below(self, top: Path, inside: str) -> Iterator[Entry]:
        folder = top / inside
        try:
            # Only names are kept: a million images in a folder should not need a million objects.
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            raise ImageError(
                f"{folder}, which cannot be read ({error.strerror})",
                "a readable folder",
                "change its permissions",
            ) from error
        for name in names:
            path = f"{inside}/{name}" if inside else name
            file = top / path
            if is_image(file) and file.is_file():
                if not file.is_symlink() or _leads_inside(file, top):
                    yield Entry(path, file.stat().st_size)
            elif file.is_dir() and not (file.is_symlink() or name.startswith(".")):
                yield from self._below(top, path)

    def read(self, path: str) -> bytes:
        return safe_path(self.root, path).read_bytes()


def is_image(path: PurePath) -> bool:
    """Return whether a name is that of an image file which is not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def safe_path(root: Path, path: str) -> Path:
    """Return the file that a relative path names inside a folder.

    Raises
    ------
    FileError : the path is absolute or leads out of the folder; such a file is never opened.
    """
    relative = PurePosixPath(path)
    file = root / relative
    outside = relative.is_absolute() or ".." in relative.parts
    if outside or not _leads_inside(file, root.resolve()):
        raise FileError(
            f"{path!r}, which leads out of its folder",
            f"a path inside {root}",
            "do not use the list of this store",
        )
    return file


def _leads_inside(link: Path, top: Path) -> bool:
    try:
        return link.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # a loop of links, which is a RuntimeError until Python 3.13
        return False
