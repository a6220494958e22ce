"""One shard: a file of latents, and its index, whose presence says that the shard is whole.

The index begins with a line on the file of latents; then comes a line for each picture, in the
order of the list, also for those that were skipped.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError
from latentlab.files import open_durably, sha256_of_file
from latentlab.store.lines import line_of, read_lines

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int, int]
INDEX = "index.jsonl"

_UNFINISHED = re.compile(
    r"\.(latents-\d{5,}|store|pictures|index)-[0-9a-f]{8}\.(safetensors|jsonl|json)"
)


def latents_path(folder: Path, shard: int) -> Path:
    """Return where the latents of a shard are."""
    return folder / f"latents-{shard:05d}.safetensors"


def index_path(folder: Path, shard: int) -> Path:
    """Return where the index of a shard is."""
    return folder / f"latents-{shard:05d}.jsonl"


def tensor_name(shape: Sequence[int]) -> str:
    """Return under which name a shard holds its latents of one shape: a tensor (n, C, h, w)."""
    return "latents." + "x".join(map(str, shape))


@dataclass(frozen=True)
class Head:
    """The first line of a shard's index.

    Parameters
    ----------
    shard : int
    sha256, bytes : of the file of latents
    pictures, skipped : int, how many the shard holds, and how many it lacks
    shapes : (C, h, w) → how many latents
    retry : bool, whether some were skipped that may be there another time
    """

    shard: int
    sha256: str
    bytes: int
    pictures: int
    skipped: int
    shapes: Mapping[Shape, int] = field(default_factory=dict)
    retry: bool = False

    def facts(self) -> dict[str, Any]:
        """Return the line of the index."""
        shapes = [[*shape, count] for shape, count in self.shapes.items()]
        return {**vars(self), "shapes": shapes}


def write_shard(
    folder: Path,
    shard: int,
    latents: Mapping[Shape, Tensor],
    pictures: Sequence[Mapping[str, Any]],
) -> Head:
    """Write latents, then their index, each whole or not at all; return the index' first line.

    Parameters
    ----------
    folder, shard : where
    latents : (C, h, w) → Tensor (n, C, h, w) in the dtype to be stored
    pictures : a line for each, in the order of the list
    """
    from safetensors.torch import save

    content = save({tensor_name(shape): rows for shape, rows in latents.items()})
    skipped = sum("skipped" in line for line in pictures)
    head = Head(
        shard,
        hashlib.sha256(content).hexdigest(),
        len(content),
        len(pictures) - skipped,
        skipped,
        {shape: len(rows) for shape, rows in latents.items()},
        any(line.get("retry", False) for line in pictures),
    )
    # Without its index a shard is not there: it never stands beside latents of another run.
    index_path(folder, shard).unlink(missing_ok=True)
    with open_durably(latents_path(folder, shard)) as file:
        file.write(content)
    with open_durably(index_path(folder, shard)) as file:
        file.writelines(line_of(line) for line in (head.facts(), *pictures))
    return head


def read_head(folder: Path, shard: int) -> Head:
    """Return what a shard's index says of the shard as a whole.

    Raises
    ------
    FileError : the index is missing or damaged.
    """
    path = index_path(folder, shard)
    try:
        facts = next(read_lines(path))
        shapes = {(c, h, w): count for c, h, w, count in facts["shapes"]}
        return Head(**{**facts, "shapes": shapes})
    except (StopIteration, KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{path} without its first line", "an index", "run `latentlab encode` again, as before"
        ) from error


def read_pictures(folder: Path, shard: int) -> Iterator[dict[str, Any]]:
    """Yield the line of each picture of a shard, also of those that were skipped."""
    return islice(read_lines(index_path(folder, shard)), 1, None)


def find_fault(folder: Path, shard: int, paths: Sequence[str]) -> str | None:
    """Return what is wrong with a shard in a few words; None where it is whole.

    Parameters
    ----------
    paths : the pictures that belong into the shard
    """
    try:
        head = read_head(folder, shard)
        lines = list(read_pictures(folder, shard))
    except FileError as error:
        return error.got
    index, latents = index_path(folder, shard).name, latents_path(folder, shard)
    if [line.get("path") for line in lines] != list(paths) or head.shard != shard:
        return f"{index} does not list the pictures of its shard"
    shapes = Counter(tuple(line["shape"]) for line in lines if "skipped" not in line)
    if head.shapes != shapes or head.skipped != len(lines) - shapes.total():
        return f"{index} contradicts itself"
    if not latents.is_file():
        return f"{latents.name} is missing"
    if latents.stat().st_size != head.bytes:
        return f"{latents.name} has {latents.stat().st_size:,} bytes instead of {head.bytes:,}"
    if sha256_of_file(latents) != head.sha256:
        return f"{latents.name} is not what {index} describes"
    return None


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run left under temporary names."""
    for path in folder.iterdir():
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)
