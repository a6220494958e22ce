"""One shard: a file of latents and an index, whose presence means that the shard is complete.

The first line of the index describes the file of latents. One line for each image follows, in
the order of the list; images that were skipped have a line as well.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from latentlab.errors import FileError
from latentlab.machine.files import open_durably, sha256_of_file
from latentlab.machine.parsing import WRONG_FACTS
from latentlab.store.lines import damaged, line_of, read_lines

Shape = tuple[int, int, int]
INDEX = "index.jsonl"

_UNFINISHED = re.compile(
    r"\.(latents-\d{5,}|store|pictures|index)-[0-9a-f]{8}\.(safetensors|jsonl|json)"
)


def latents_path(folder: Path, shard: int) -> Path:
    """Return the path of the latents of a shard."""
    return folder / f"latents-{shard:05d}.safetensors"


def index_path(folder: Path, shard: int) -> Path:
    """Return the path of the index of a shard."""
    return folder / f"latents-{shard:05d}.jsonl"


def tensor_name(shape: Sequence[int]) -> str:
    """Return the name of the tensor (n, C, h, w) with the latents of one shape in a shard."""
    return "latents." + "x".join(map(str, shape))


@dataclass(frozen=True)
class Head:
    """The first line of a shard's index.

    Parameters
    ----------
    shard : int
    sha256, bytes : of the file of latents
    pictures, skipped : int, images with and without a latent in the shard
    lines_sha256 : of the lines that follow this one
    shapes : (C, h, w) → number of latents
    retry : bool, whether images were skipped that may be readable another time
    """

    shard: int
    sha256: str
    bytes: int
    pictures: int
    skipped: int
    lines_sha256: str
    shapes: Mapping[Shape, int] = field(default_factory=dict)
    retry: bool = False


def write_shard(
    folder: Path, shard: int, latents: Mapping[Shape, Tensor], images: Sequence[Mapping[str, Any]]
) -> Head:
    """Write latents, then their index, each completely or not at all; return the first line.

    Parameters
    ----------
    folder : of the store
    shard : int
    latents : (C, h, w) → Tensor (n, C, h, w) in the dtype to be stored
    images : a line for each image, in the order of the list
    """
    from safetensors.torch import save

    content = save({tensor_name(shape): rows for shape, rows in latents.items()})
    lines = b"".join(map(line_of, images))
    skipped = sum("skipped" in line for line in images)
    head = Head(
        shard,
        hashlib.sha256(content).hexdigest(),
        len(content),
        len(images) - skipped,
        skipped,
        hashlib.sha256(lines).hexdigest(),
        {shape: len(rows) for shape, rows in latents.items()},
        any(line.get("retry", False) for line in images),
    )
    facts = {**vars(head), "shapes": [[*shape, len(rows)] for shape, rows in latents.items()]}
    # The old index goes first: it must never stand beside the latents of another run.
    index_path(folder, shard).unlink(missing_ok=True)
    with open_durably(latents_path(folder, shard)) as file:
        file.write(content)
    with open_durably(index_path(folder, shard)) as file:
        file.write(line_of(facts) + lines)
    return head


def read_head(folder: Path, shard: int) -> Head:
    """Return the first line of a shard's index.

    Raises
    ------
    FileError : the index is missing or damaged, or that of another shard.
    """
    path = index_path(folder, shard)
    head = _head_of(next(read_lines(path), None), path)
    if head.shard != shard:
        raise damaged(f"{path}, which is the index of shard {head.shard}", "its own")
    return head


def _head_of(facts: Mapping[str, Any] | None, path: Path) -> Head:
    try:
        if facts is None:
            raise ValueError("no line")
        shapes = {(c, h, w): count for c, h, w, count in facts["shapes"]}
        head = Head(**{**facts, "shapes": shapes})
        counts = [(head.shard, head.bytes, head.pictures, head.skipped), *facts["shapes"]]
        if not all(map(_are_counts, counts)):
            raise ValueError("no counts")
    except WRONG_FACTS as error:
        raise damaged(f"{path} without its first line", "an index") from error
    return head


def read_images(folder: Path, shard: int) -> Iterator[dict[str, Any]]:
    """Yield the line of each image of a shard, including those that were skipped.

    Raises
    ------
    FileError : the index is missing, a line does not describe an image, or the lines do not
        number the rows of each shape in order, or are not those that the first line counts.
    """
    path, lines = index_path(folder, shard), read_lines(index_path(folder, shard))
    head = _head_of(next(lines, None), path)
    rows: Counter[Shape] = Counter()
    count = 0
    for count, line in enumerate(lines, 1):
        if not _is_of_image(line) or line.get("shard", shard) != shard:
            raise damaged(f"{path}, damaged in line {count + 1}")
        if "skipped" not in line:
            shape = tuple(line["shape"])
            if line["row"] != rows[shape]:
                got = f"{path} with row {line['row']} of {shape} in line {count + 1}"
                raise damaged(got, f"row {rows[shape]}")
            rows[shape] += 1
        yield line
    if rows != +Counter(head.shapes) or count != rows.total() + head.skipped:
        raise damaged(f"{path} with {count:,} lines", "those that its first line counts")


def is_finished(folder: Path, shard: int, paths: Sequence[str]) -> bool:
    """Return whether a shard is complete, with nothing to retry; warn if it is damaged.

    Parameters as for :func:`find_fault`.
    """
    if not index_path(folder, shard).exists():
        return False
    fault = find_fault(folder, shard, paths)
    if fault:
        warnings.warn(f"shard {shard} is computed again: {fault}", stacklevel=2)
    return not (fault or read_head(folder, shard).retry)


def find_fault(folder: Path, shard: int, paths: Sequence[str]) -> str | None:
    """Return in a few words what is wrong with a shard, or None.

    Parameters
    ----------
    folder : of the store
    shard : int
    paths : of the images that belong to the shard, in order
    """
    index, latents = index_path(folder, shard), latents_path(folder, shard)
    try:
        head = read_head(folder, shard)
        lines = list(read_images(folder, shard))
    except FileError as error:
        return error.got
    if [line["path"] for line in lines] != list(paths) or head.shard != shard:
        return f"{index.name} does not list the images of its shard"
    shapes = Counter(tuple(line["shape"]) for line in lines if "skipped" not in line)
    digest = hashlib.sha256(lines_of_index(folder, shard)).hexdigest()
    described = (digest, shapes, len(lines) - shapes.total())
    if described != (head.lines_sha256, head.shapes, head.skipped):
        return f"{index.name} contradicts itself"
    if not latents.is_file():
        return f"{latents.name} is missing"
    if latents.stat().st_size != head.bytes:
        return f"{latents.name} has {latents.stat().st_size:,} bytes instead of {head.bytes:,}"
    if sha256_of_file(latents) != head.sha256:
        return f"{latents.name} is not what {index.name} describes"
    return None


def lines_of_index(folder: Path, shard: int) -> bytes:
    """Return the lines of the images as they stand in a shard's index."""
    return index_path(folder, shard).read_bytes().partition(b"\n")[2]


def _are_counts(numbers: Iterable[Any]) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


def _is_of_image(line: Mapping[str, Any]) -> bool:
    """Return whether a line says what is read about an image, or why it was skipped."""
    match line:
        case {"path": str(), "skipped": str()}:
            return True
        case {"path": str(), "sha256": str(), "shape": [c, h, w], "size": size, "row": row}:
            return _are_counts((c, h, w, size, row))
    return False


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a killed run left."""
    for path in folder.iterdir():
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)
