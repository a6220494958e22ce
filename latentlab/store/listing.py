"""``pictures.jsonl``: the images of a store in their order, which never changes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from latentlab.errors import FileError
from latentlab.latents import Progress
from latentlab.machine.files import open_durably, sha256_of_file
from latentlab.store.lines import damaged, line_of, read_lines
from latentlab.store.manifest import Manifest
from latentlab.store.opening import MANIFEST
from latentlab.store.sources import Entry, Source

LIST = "pictures.jsonl"


def write_list(file: BinaryIO, source: Source, progress: Progress | None = None) -> tuple[str, int]:
    """Write a line for each image of a source; return their SHA-256 and their number."""
    digest, count = hashlib.sha256(), 0
    for count, entry in enumerate(source.entries(), 1):
        line = line_of(asdict(entry))
        digest.update(line)
        file.write(line)
        if progress and count % 1000 == 0:
            progress("listing", count, count)
    return digest.hexdigest(), count


def is_list_of(folder: Path, manifest: Manifest) -> bool:
    """Return whether the list of images is the one with which the store was begun."""
    path = folder / LIST
    if not path.is_file() or sha256_of_file(path) != manifest.list_sha256:
        return False
    with path.open("rb") as lines:
        return sum(1 for _ in lines) == manifest.pictures


def check_list(folder: Path, begun: Manifest, source: Source) -> None:
    """Check that a source still has the images of a store, and restore a damaged list of them.

    Raises
    ------
    FileError : the source has other images, or the manifest has a wrong number of them; nothing
        is changed then.
    """
    if is_list_of(folder, begun):
        _compare(folder, begun, source)
        return
    with open_durably(folder / LIST) as file:
        digest, count = write_list(file, source)
        if (digest, count) != (begun.list_sha256, begun.pictures):
            got = f"{folder / LIST} and a source of {count:,} images"
            raise _other_images(f"{got}, which do not match {MANIFEST}", begun)


def _compare(folder: Path, begun: Manifest, source: Source) -> None:
    pairs = itertools.zip_longest(listed_images(folder), source.entries())
    for number, pair in enumerate(pairs, 1):
        if pair[0] != pair[1]:
            was, now = (f"{x.path} ({x.size:,} bytes)" if x else "missing" for x in pair)
            change = f"number {number:,} was {was} and is now {now}"
            raise _other_images(f"other images than those of {folder}: {change}", begun)


def _other_images(got: str, begun: Manifest) -> FileError:
    return FileError(
        got,
        f"the {begun.pictures:,} images with which the store was begun",
        "put them back as they were, or choose another --out",
    )


def listed_images(folder: Path) -> Generator[Entry, None, None]:
    """Yield the images that a store lists, in order."""
    for number, facts in enumerate(read_lines(folder / LIST), 1):
        path, size = facts.get("path"), facts.get("size")
        if not isinstance(path, str) or type(size) is not int:
            raise damaged(f"{folder / LIST}, damaged in line {number}")
        yield Entry(path, size)


def paths_by_shard(folder: Path, manifest: Manifest) -> Generator[list[str], None, None]:
    """Yield the paths of the images that belong to each shard, in order."""
    with closing(listed_images(folder)) as entries:
        for _ in range(manifest.shards):
            yield [entry.path for entry in itertools.islice(entries, manifest.per_shard)]
