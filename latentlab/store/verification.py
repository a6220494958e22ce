"""Checks that a store is intact, and that its images have not changed since they were encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentlab.errors import LatentlabError
from latentlab.latents import Progress
from latentlab.machine.files import sha256_of_file
from latentlab.store.listing import LIST, is_list_of, paths_by_shard
from latentlab.store.manifest import Manifest, read_manifest
from latentlab.store.shards import INDEX, find_fault, lines_of_index, read_images
from latentlab.store.sources import Source

_SHOWN = 1000
"""How many problems are described; further ones are only counted."""


@dataclass(frozen=True)
class Verified:
    """What was checked and what is wrong.

    Parameters
    ----------
    shards, pictures : int, how many were checked; images that were skipped do not count, and
        without a source none is checked
    problems : the first of them, one line each
    count : int, of all problems
    """

    shards: int
    pictures: int
    problems: tuple[str, ...]
    count: int

    def summary(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return {**vars(self), "whole": not self.count, "problems": list(self.problems)}


def verify_store(
    folder: Path, source: Source | None = None, *, progress: Progress | None = None
) -> Verified:
    """Check every byte of a store, and its images if their source is given.

    Parameters
    ----------
    folder : of the store
    source : Source, optional; the images that were encoded, each of which is hashed again
    progress : called as ``progress("verifying", done, total)``, in shards

    Raises
    ------
    FileError : there is no manifest, so that nothing can be checked.
    """
    manifest = read_manifest(folder)
    problems = _check_whole(folder, manifest)
    count, images = len(problems), 0
    for shard, (found, checked) in enumerate(_check_shards(folder, manifest, source), 1):
        count += len(found)
        images += checked
        problems += found[: _SHOWN - len(problems)]
        if progress:
            progress("verifying", shard, manifest.shards)
    return Verified(manifest.shards, images, tuple(problems), count)


def _check_whole(folder: Path, manifest: Manifest) -> list[str]:
    """Return what is wrong with the list and with the index of all shards."""
    problems = []
    if not is_list_of(folder, manifest):
        problems.append(f"{LIST} is not the list with which the store was begun")
    if not (folder / INDEX).is_file():
        return [*problems, f"{INDEX} is missing"]
    digest = hashlib.sha256()
    for shard in range(manifest.shards):
        with suppress(OSError):  # reported with its shard
            digest.update(lines_of_index(folder, shard))
    if sha256_of_file(folder / INDEX) != digest.hexdigest():
        problems.append(f"{INDEX} is not what the indexes of the shards say")
    return problems


def _check_shards(
    folder: Path, manifest: Manifest, source: Source | None
) -> Iterator[tuple[list[str], int]]:
    """Yield the problems of each shard, and how many of its images were checked."""
    try:
        with closing(paths_by_shard(folder, manifest)) as listed:
            for shard, paths in enumerate(listed):
                fault = find_fault(folder, shard, paths)
                if fault or source is None:
                    yield [f"shard {shard}: {fault}"] if fault else [], 0
                    continue
                lines = [line for line in read_images(folder, shard) if "skipped" not in line]
                yield [change for line in lines if (change := _change(source, line))], len(lines)
    except LatentlabError as error:  # the list itself is damaged
        yield [error.got], 0


def _change(source: Source, line: dict[str, Any]) -> str | None:
    """Return how an image differs from the one that was encoded; None if it does not."""
    try:
        content = source.read(line["path"])
    except OSError as error:
        return f"{line['path']} cannot be read ({error.strerror})"
    except LatentlabError as error:
        return error.got
    if hashlib.sha256(content).hexdigest() != line["sha256"]:
        return f"{line['path']} has changed since it was encoded"
    return None
