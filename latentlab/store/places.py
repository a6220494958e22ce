"""The files of latents at a path: one file, a folder with its subfolders, or a tar file."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from latentlab.errors import FileError
from latentlab.store.containers import SUFFIXES, Place

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


def places_at(path: Path, *, follow_links: bool = False) -> Listed:
    """Return the files of latents at a path.

    Raises
    ------
    FileError : it does not exist, or is neither a file of latents, a folder nor a tar file.
    """
    listed = Listed()
    if path.is_dir():
        for file, name in _files_below(path, listed, follow_links=follow_links):
            _add(file, name, listed)
    elif path.is_file():
        _add(path, path.name, listed)
    else:
        raise FileError(f"{path}, which does not exist", "latents", "check the path")
    for suffix, count in sorted(listed.others.items()):
        if suffix not in _BESIDE:
            listed.faults[f"*{suffix}"] = f"{count:,} of an unknown kind"
    return listed


def _files_below(folder: Path, listed: Listed, *, follow_links: bool) -> Iterator[tuple[Path, str]]:
    top = folder.resolve()
    for place, folders, names in os.walk(folder, followlinks=follow_links):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            inside = str(file.relative_to(folder))
            if name.startswith("."):
                continue
            outside = file.is_symlink() and not file.resolve().is_relative_to(top)
            if outside and not follow_links:
                listed.faults[inside] = "a link that leads out of the folder; see --follow-links"
            elif file.is_file():
                yield file, inside
            else:
                listed.faults[inside] = "a link that leads nowhere"


def _add(file: Path, name: str, listed: Listed) -> None:
    suffix = file.suffix.lower()
    if suffix in SUFFIXES:
        listed.places.append(Place(file, name, file.stat().st_size))
    elif suffix == ".tar":
        _add_members(file, name, listed)
    else:
        listed.others[suffix or "without suffix"] += 1


def _add_members(file: Path, name: str, listed: Listed) -> None:
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                suffix = Path(member.name).suffix.lower()
                if not member.isreg():
                    continue
                if suffix not in SUFFIXES or member.issparse():
                    listed.others[suffix or "without suffix"] += 1
                    continue
                inside = f"{name}/{member.name}"
                listed.places.append(Place(file, inside, member.size, member.offset_data))
    except (tarfile.TarError, OSError) as error:
        listed.faults[name] = f"cannot be read as an uncompressed tar file ({error})"
