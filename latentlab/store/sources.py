"""Sources of images: an ordered list of paths, and the bytes behind each path.

A source is small and can be pickled: each worker process gets a copy and reads the images
itself. This module does not import torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol, TypeGuard

from latentlab.errors import FileError, ImageError
from latentlab.images.formats import head_of_file, is_image, is_image_name, kind_of_file

FOLLOW = "pass --follow-links to read it"


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


class OutsideError(FileError):
    """A link leads out of a folder that is read without ``follow_links`` (exit code 3)."""


def left_out(source: Source) -> Mapping[str, int]:
    """Return kind → number of the files that a source does not list, if it counts them."""
    return source.left_out() if _counts(source) else {}


def _counts(source: Source) -> TypeGuard[Any]:
    return hasattr(source, "left_out")


@dataclass(frozen=True)
class Folder:
    """The image files in a folder and its subfolders, sorted by name in each folder.

    Files without the suffix of an image are images if their first bytes say so. Hidden files and
    folders are left out. Links that lead out of the folder, and links to folders, are followed
    only if that is asked for.
    """

    root: Path
    follow_links: bool = False

    kind: ClassVar[str] = "folder"

    def entries(self) -> Iterator[Entry]:
        top = self.root.resolve()
        for found in self._below(top, "", (top,)):
            if isinstance(found, Entry):
                yield found

    def left_out(self) -> Mapping[str, int]:
        """Return kind → number of the files that are no images, and of the links not followed."""
        top = self.root.resolve()
        found = self._below(top, "", (top,))
        return Counter(one for one in found if isinstance(one, str))

    def _below(self, top: Path, inside: str, above: tuple[Path, ...]) -> Iterator[Entry | str]:
        """Yield each image, and the kind of each other file, below a folder."""
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
            file = folder / name
            path = f"{inside}/{name}" if inside else name
            if name.startswith("."):
                continue
            if file.is_symlink() and (why := self._reason(file, top)):
                # An image behind a link stays in the list, so that it can be read later.
                listed = why == FOLLOW and is_image_name(file)
                yield Entry(path, file.lstat().st_size) if listed else why
            elif file.is_file():
                is_one = is_image(file, partial(head_of_file, file))
                yield Entry(path, file.stat().st_size) if is_one else kind_of_file(file)
            elif file.is_dir():
                real = file.resolve()
                if real in above:
                    yield "link to a folder around it"
                else:
                    yield from self._below(top, path, (*above, real))

    def _reason(self, link: Path, top: Path) -> str | None:
        """Return why a link is not followed; :data:`FOLLOW` for a file outside, None if it is."""
        if not link.exists():
            return "link that leads nowhere"
        if self.follow_links:
            return None
        if link.is_dir():
            return "link to a folder"
        if _leads_inside(link, top):
            return None
        return FOLLOW if is_image_name(link) else "link out of the folder"

    def read(self, path: str) -> bytes:
        return safe_path(self.root, path, follow_links=self.follow_links).read_bytes()


def safe_path(root: Path, path: str, *, follow_links: bool = False) -> Path:
    """Return the file that a relative path names inside a folder.

    Raises
    ------
    FileError : the path is absolute or leads out of the folder; such a file is never opened.
    OutsideError : it is a link that leads out of the folder, and links are not followed.
    """
    relative = PurePosixPath(path)
    file = root / relative
    if relative.is_absolute() or ".." in relative.parts:
        raise FileError(
            f"{path!r}, which leads out of its folder",
            f"a path inside {root}",
            "do not use the list of this store",
        )
    if not (follow_links or _leads_inside(file, root.resolve())):
        raise OutsideError(
            f"{path!r}, a link which leads out of its folder", f"a file inside {root}", FOLLOW
        )
    return file


def _leads_inside(link: Path, top: Path) -> bool:
    try:
        return link.resolve().is_relative_to(top)
    except (OSError, RuntimeError):  # a loop of links, which is a RuntimeError until Python 3.13
        return False
