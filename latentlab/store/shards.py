"""One shard: a file of latents, and its index, whose presence says that the shard is whole.

The index begins with a line on the file of latents; then comes a line for each picture, in the
order of the list, also for those that were skipped.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError
from latentlab.machine.files import open_durably, sha256_of_file
from latentlab.store.lines import damaged, line_of, read_lines

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
    lines_sha256 : of the lines that follow this one
    pictures, skipped : int, how many the shard holds, and how many it lacks
    shapes : (C, h, w) → how many latents
    retry : bool, whether some were skipped that may be there another time
    """

    shard: int
    sha256: str
    bytes: int
    pictures: int
    skipped: int
    lines_sha256: str
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
    lines = b"".join(map(line_of, pictures))
    skipped = sum("skipped" in line for line in pictures)
    head = Head(
        shard,
        hashlib.sha256(content).hexdigest(),
        len(content),
        len(pictures) - skipped,
        skipped,
        hashlib.sha256(lines).hexdigest(),
        {shape: len(rows) for shape, rows in latents.items()},
        any(line.get("retry", False) for line in pictures),
    )
    # Without its index a shard is not there: it never stands beside latents of another run.
    index_path(folder, shard).unlink(missing_ok=True)
    with open_durably(latents_path(folder, shard)) as file:
        file.write(content)
    with open_durably(index_path(folder, shard)) as file:
        file.write(line_of(head.facts()) + lines)
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
        head = Head(**{**facts, "shapes": shapes})
        numbers = (head.shard, head.bytes, head.pictures, head.skipped)
        if not (_are_counts(numbers) and all(_are_counts(entry) for entry in facts["shapes"])):
            raise ValueError("no counts")
    except (StopIteration, KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{path} without its first line", "an index", "run `latentlab encode` again, as before"
        ) from error
    return head


def read_pictures(folder: Path, shard: int) -> Iterator[dict[str, Any]]:
    """Yield the line of each picture of a shard, also of those that were skipped.

    Raises
    ------
    FileError : the index is missing, or a line is none of a picture.
    """
    path = index_path(folder, shard)
    for number, line in enumerate(islice(read_lines(path), 1, None), 2):
        if not _is_of_picture(line):
            raise damaged(path, number)
        yield line


def find_fault(folder: Path, shard: int, paths: Sequence[str]) -> str | None:
    """Return what is wrong with a shard in a few words; None where it is whole.

    Parameters
    ----------
    paths : the pictures that belong into the shard
    """
    index, latents = index_path(folder, shard), latents_path(folder, shard)
    try:
        head = read_head(folder, shard)
        lines = list(read_pictures(folder, shard))
    except FileError as error:
        return error.got
    if [line["path"] for line in lines] != list(paths) or head.shard != shard:
        return f"{index.name} does not list the pictures of its shard"
    shapes = Counter(tuple(line["shape"]) for line in lines if "skipped" not in line)
    if (
        _sha256_of_lines(index) != head.lines_sha256
        or head.shapes != shapes
        or head.skipped != len(lines) - shapes.total()
    ):
        return f"{index.name} contradicts itself"
    if not latents.is_file():
        return f"{latents.name} is missing"
    if latents.stat().st_size != head.bytes:
        return f"{latents.name} has {latents.stat().st_size:,} bytes instead of {head.bytes:,}"
    if sha256_of_file(latents) != head.sha256:
        return f"{latents.name} is not what {index.name} describes"
    return None


def lines_of_index(path: Path) -> bytes:
    """Return the lines of the pictures as they stand in a shard's index."""
    return path.read_bytes().partition(b"\n")[2]


def _sha256_of_lines(path: Path) -> str:
    return hashlib.sha256(lines_of_index(path)).hexdigest()


def _are_counts(numbers: Iterable[Any]) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


def _is_of_picture(line: Mapping[str, Any]) -> bool:
    """Return whether a line has what is read of a picture, or says that it was skipped."""
    if not isinstance(line.get("path"), str):
        return False
    if isinstance(line.get("skipped"), str):
        return True
    shape = line.get("shape")
    return (
        isinstance(shape, list)
        and len(shape) == 3
        and _are_counts((*shape, line.get("row"), line.get("size")))
        and isinstance(line.get("sha256"), str)
    )


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run left under temporary names."""
    for path in folder.iterdir():
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)
