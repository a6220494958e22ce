"""Whether a store is what it says, and whether its pictures are still those that were encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from latentlab.errors import LatentlabError
from latentlab.latents import Progress
from latentlab.machine.files import sha256_of_file
from latentlab.store.listing import LIST, is_list_of, listed_pictures
from latentlab.store.manifest import Manifest, read_manifest
from latentlab.store.shards import INDEX, find_fault, index_path, lines_of_index, read_pictures
from latentlab.store.sources import Source

_SHOWN = 1000
"""How many problems are told apart; beyond that they are only counted."""


@dataclass(frozen=True)
class Verified:
    """What was checked, and what was found.

    Parameters
    ----------
    shards, pictures : int, how many were looked at; pictures, without those that were skipped, are
        0 where they were not asked for
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
    """Check every byte of a store, and of its pictures where their source is given.

    Parameters
    ----------
    folder : of the store
    source : the pictures that were encoded; each is read and hashed again
    progress : called as ``progress("verifying", done, total)``, in shards

    Raises
    ------
    FileError : there is no manifest, so that nothing can be checked.
    """
    manifest = read_manifest(folder)
    problems: list[str] = []
    count = pictures = 0
    for shard, found in enumerate(_check_shards(folder, manifest, source), 1):
        count += len(found.problems)
        pictures += found.pictures
        problems += found.problems[: _SHOWN - len(problems)]
        if progress:
            progress("verifying", shard, manifest.shards)
    whole = _check_whole(folder, manifest)
    return Verified(manifest.shards, pictures, (*whole, *problems), count + len(whole))


@dataclass(frozen=True)
class _Found:
    """What one shard came to."""

    problems: list[str]
    pictures: int = 0


def _check_shards(folder: Path, manifest: Manifest, source: Source | None) -> Iterator[_Found]:
    try:
        with closing(listed_pictures(folder)) as entries:
            for shard in range(manifest.shards):
                paths = [entry.path for entry in islice(entries, manifest.per_shard)]
                fault = find_fault(folder, shard, paths)
                if fault:
                    yield _Found([f"shard {shard}: {fault}"])
                elif source:
                    there = [x for x in read_pictures(folder, shard) if "skipped" not in x]
                    changed = [_changed(source, line) for line in there]
                    yield _Found([line for line in changed if line], len(there))
                else:
                    yield _Found([])
    except LatentlabError as error:  # the list itself is damaged
        yield _Found([error.got])


def _changed(source: Source, line: dict[str, Any]) -> str | None:
    """Return how a picture differs from the one that was encoded; None where it does not."""
    try:
        content = source.read(line["path"])
    except OSError as error:
        return f"{line['path']} cannot be read ({error.strerror})"
    except LatentlabError as error:
        return error.got
    if hashlib.sha256(content).hexdigest() != line["sha256"]:
        return f"{line['path']} has changed since it was encoded"
    return None


def _check_whole(folder: Path, manifest: Manifest) -> list[str]:
    """Return what is wrong with the list and with the index of all shards."""
    problems = []
    if not is_list_of(folder, manifest):
        problems.append(f"{LIST} is not the list with which the store was begun")
    merged = folder / INDEX
    if not merged.is_file():
        problems.append(f"{INDEX} is missing")
    elif sha256_of_file(merged) != _sha256_of_indexes(folder, manifest):
        problems.append(f"{INDEX} is not what the indexes of the shards say")
    return problems


def _sha256_of_indexes(folder: Path, manifest: Manifest) -> str:
    digest = hashlib.sha256()
    for shard in range(manifest.shards):
        path = index_path(folder, shard)
        if path.is_file():
            digest.update(lines_of_index(path))
    return digest.hexdigest()
