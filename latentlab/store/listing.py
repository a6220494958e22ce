"""``pictures.jsonl``: the pictures of a store in their order, which never changes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from latentlab.errors import FileError
from latentlab.machine.files import open_durably, sha256_of_file
from latentlab.store.lines import damaged, line_of, read_lines
from latentlab.store.sources import Entry, Source

if TYPE_CHECKING:
    from latentlab.latents import Progress
    from latentlab.store.manifest import Manifest

LIST = "pictures.jsonl"


def write_list(file: BinaryIO, source: Source, progress: Progress | None = None) -> tuple[str, int]:
    """Write a line for each picture of a source; return the SHA-256 of all, and how many."""
    digest, count = hashlib.sha256(), 0
    for count, entry in enumerate(source.entries(), 1):
        line = line_of(asdict(entry))
        digest.update(line)
        file.write(line)
        if progress and count % 1000 == 0:
            progress("listing", count, count)
    return digest.hexdigest(), count


def is_list_of(folder: Path, manifest: Manifest) -> bool:
    """Return whether the list of pictures is the one with which the store was begun."""
    path = folder / LIST
    if not path.is_file() or sha256_of_file(path) != manifest.list_sha256:
        return False
    with path.open("rb") as lines:
        return sum(1 for _ in lines) == manifest.pictures


def restore_list(folder: Path, begun: Manifest, source: Source) -> None:
    """Write a list that was damaged anew, if the pictures are still those of the store.

    Raises
    ------
    FileError : they are others, or the manifest counts them wrongly; what is left of the list
        stays as it is.
    """
    with open_durably(folder / LIST) as file:
        digest, count = write_list(file, source)
        if digest == begun.list_sha256 and count != begun.pictures:
            raise FileError(
                f"a store.json in {folder} with {begun.pictures:,} pictures, "
                f"whose list has {count:,}",
                "the store.json with which the store was begun",
                "put it back, or choose another --out",
            )
        if digest != begun.list_sha256:
            raise FileError(
                f"{folder / LIST}, which is damaged, and other pictures than those of the store",
                f"the {begun.pictures:,} pictures with which the store was begun",
                "put them back as they were, or choose another --out",
            )


def check_list(folder: Path, begun: Manifest, source: Source) -> None:
    """Raise FileError where the source no longer has the pictures that the store lists."""
    pairs = itertools.zip_longest(listed_pictures(folder), source.entries())
    for number, (had, found) in enumerate(pairs, 1):
        if had != found:
            raise FileError(
                f"other pictures than those of {folder}: {_difference(number, had, found)}",
                f"the {begun.pictures:,} pictures with which the store was begun",
                "put them back as they were, or choose another --out",
            )


def _difference(number: int, had: Entry | None, found: Entry | None) -> str:
    if had is None or found is None:
        entry, how = (found, "new") if had is None else (had, "gone")
        return f"{entry.path if entry else ''} is {how}"
    return f"number {number:,} was {_shown(had)} and is {_shown(found)}"


def _shown(entry: Entry) -> str:
    return f"{entry.path} ({entry.size:,} bytes)"


def listed_pictures(folder: Path) -> Generator[Entry, None, None]:
    """Yield the pictures that a store lists, in their order."""
    for number, facts in enumerate(read_lines(folder / LIST), 1):
        path, size = facts.get("path"), facts.get("size")
        if not isinstance(path, str) or type(size) is not int:
            raise damaged(folder / LIST, number)
        yield Entry(path, size)
