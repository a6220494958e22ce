"""Single latents of a store, by number or by the path of their image, and its index as a table."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, count
from operator import index as as_int
from pathlib import Path, PurePath
from typing import Any

from latentlab.errors import ArgumentError, FileError, StoreIndexError
from latentlab.figures.tables import frame_of
from latentlab.latents import Latent
from latentlab.store.lines import damaged
from latentlab.store.manifest import STORED_DTYPES, Manifest
from latentlab.store.shards import latents_path, read_images, tensor_name

_SIDES = ("channels", "height", "width")
_NUMBERS = ("number", "shard", "row", *_SIDES, "size")
_COLUMNS = ["path", *_NUMBERS, "sha256", "skipped"]


def position_of(number: int, count: int) -> int:
    """Return a number counted from 0, given one that may count from the end.

    Raises
    ------
    StoreIndexError : the store has no such latent; it is an IndexError too.
    ArgumentError : a path, or anything else that is no number; it is a TypeError too.
    """
    if isinstance(number, str | os.PathLike):
        raise ArgumentError(
            f"store[{number!r}]", "a number or a slice", f"write store[store.index({number!r})]"
        )
    position = as_int(number) + (count if number < 0 else 0)
    if not 0 <= position < count:
        raise StoreIndexError(
            f"latent {number} of a store of {count:,}",
            f"a number from 0 to {count - 1:,}" if count else "a store with latents",
            "count from 0, or pass a path to index(path)",
        )
    return position


def latents_at(
    folder: Path, manifest: Manifest, counts: Sequence[int], positions: Sequence[int]
) -> list[Latent]:
    """Return some latents of a store; only the indexes of their shards and their rows are read.

    Parameters
    ----------
    folder : of the store
    manifest : Manifest of the store
    counts : number of latents in each shard
    positions : numbers of latents from 0, in any order

    Raises
    ------
    FileError : a shard is missing or damaged.
    """
    ends, found = [*accumulate(counts)], {}
    wanted = {position: bisect_right(ends, position) for position in positions}
    for shard in sorted(set(wanted.values())):
        lines = [line for line in read_images(folder, shard) if "skipped" not in line]
        if len(lines) != counts[shard]:
            raise damaged(f"shard {shard} of {folder} with other latents than when it was opened")
        first = ends[shard] - counts[shard]
        for position in (one for one, place in wanted.items() if place == shard):
            found[position] = _read(folder, manifest, shard, lines[position - first])
    return [found[position] for position in positions]


def latents_in_order(folder: Path, manifest: Manifest) -> Iterator[Latent]:
    """Yield every latent of a store, whatever their shapes."""
    for shard in range(manifest.shards):
        for line in read_images(folder, shard):
            if "skipped" not in line:
                yield _read(folder, manifest, shard, line)


def index_of(lines: Iterable[Mapping[str, Any]], path: str, folder: Path) -> int:
    """Return the number of the latent of an image, by its path in the source.

    Raises
    ------
    FileError : no image has this path, or it was skipped.
    """
    for number, line in enumerate(lines):
        if line["path"] == str(path):
            return number
    raise FileError(
        f"{str(path)!r}, which has no latent in {folder}",
        "the path of an image as store.paths() gives it",
        "use the path inside the folder that was encoded",
    )


def table_of(lines: Iterable[Mapping[str, Any]]) -> Any:
    """Return a pandas DataFrame with a row for each line of the index; see ``Store.to_frame``.

    Raises
    ------
    MissingExtraError : pandas is not installed.
    """
    numbers, rows = count(), []
    for line in lines:
        shape = dict(zip(_SIDES, line.get("shape", ()), strict=False))
        rows.append({**line, **shape, "number": None if "skipped" in line else next(numbers)})
    # Columns with gaps would otherwise stay float.
    return frame_of(rows, _COLUMNS).astype(dict.fromkeys(_NUMBERS, "Int64"))


def _read(folder: Path, manifest: Manifest, shard: int, line: Mapping[str, Any]) -> Latent:
    from safetensors import SafetensorError, safe_open

    path = latents_path(folder, shard)
    shape, row = tuple(line["shape"]), line["row"]
    try:
        with safe_open(path, framework="pt") as file:
            stored = file.get_slice(tensor_name(shape))
            values = stored[row : row + 1]
    except (OSError, SafetensorError) as error:
        raise damaged(f"{path} ({error})", "latents of a store") from error
    if stored.get_dtype() != STORED_DTYPES[manifest.stored] or values.shape != (1, *shape):
        raise damaged(f"{path} without row {row} of shape {shape}", "what its index says")
    record = {
        "model": {**manifest.model, "dtype": manifest.dtype},
        "input": {
            "name": line["path"],
            "sha256": line["sha256"],
            "preprocessing": manifest.preprocessing,
        },
    }
    name = PurePath(line["path"]).stem
    return Latent(values[0].float(), manifest.spec, name=name, record=record)
