"""The files of latents at a path: one file, a folder with its subfolders, or an archive."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from latentlab.errors import FileError
from latentlab.machine.archives import ARRAYS, is_archive
from latentlab.machine.files import exists
from latentlab.store.archives import members_of_archive
from latentlab.store.arrays import Place

_BESIDE = {".json", ".txt", ".md", ".csv", ".yaml", ".jsonl", ".caption"}
"""Suffixes of files that usually lie beside latents, and are counted but not explained."""


@dataclass
class Listed:
    """Files that may hold latents, and what is left out.

    Parameters
    ----------
    places : of the files, by name
    faults : name → why it is left out
    others : suffix → number of files of other kinds
    """

    places: list[Place] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)

    def left_out(self) -> str:
        """Return how many files of other kinds there are, in brackets; "" without any."""
        counts = ", ".join(f"{n:,} {suffix}" for suffix, n in self.others.most_common(5))
        return f" (but {counts})" if counts else ""

    def first_fault(self) -> str:
        """Return the first thing that cannot be read and why, after a colon; "" without any."""
        found = ((name, why) for name, why in self.faults.items() if not name.startswith("*"))
        return next((f": {name} {why}" for name, why in found), "")


def places_at(path: Path, *, follow_links: bool = False) -> Listed:
    """Return the files of latents at a path.

    Raises
    ------
    FileError : it does not exist, or is neither a file of latents, a folder nor an archive.
    """
    listed, there = Listed(), exists(path)
    if there and path.is_dir():
        for file, name in _files_below(path, listed, follow_links=follow_links):
            _add(file, name, listed)
    elif there and path.is_file():
        _add(path, path.name, listed)
    else:
        raise FileError(f"{path}, which does not exist", "latents", "check the path")
    for suffix, count in sorted(listed.others.items()):
        if suffix not in _BESIDE:
            listed.faults[f"*{suffix}"] = f"{count:,} of an unknown kind"
    return listed


def _files_below(folder: Path, listed: Listed, *, follow_links: bool) -> Iterator[tuple[Path, str]]:
    top = Path(os.path.realpath(folder))

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename or folder, folder)
        listed.faults[name] = f"a folder that cannot be read ({error.strerror})"

    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=follow_links):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            inside = str(file.relative_to(folder))
            if name.startswith("."):
                continue
            # Path.resolve raises RuntimeError for a link that leads to itself.
            outside = file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(top)
            if outside and not follow_links:
                listed.faults[inside] = "a link that leads out of the folder; see --follow-links"
            elif file.is_file():
                yield file, inside
            else:
                linked = file.is_symlink()
                listed.faults[inside] = f"{'a link that leads to' if linked else 'is'} no file"


def _add(file: Path, name: str, listed: Listed) -> None:
    suffix = file.suffix.lower()
    if suffix in ARRAYS:
        listed.places.append(Place(file, name, file.stat().st_size))
    elif is_archive(name):
        listed.places += members_of_archive(file, name, listed.others, listed.faults.__setitem__)
    else:
        listed.others[suffix or "without suffix"] += 1
