"""Single latents of a store, by number or by the path of their image, and its index as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import accumulate
from operator import index as as_int
from pathlib import Path, PurePath
from typing import Any

from latentlab.errors import FileError, MissingExtraError, StoreIndexError
from latentlab.latents import Latent
from latentlab.store.lines import damaged
from latentlab.store.manifest import STORED_DTYPES, Manifest
from latentlab.store.shards import latents_path, read_head, read_images, tensor_name


def latent_at(folder: Path, manifest: Manifest, number: int) -> Latent:
    """Return one latent of a store; only its shard's index and its own row are read.

    Parameters
    ----------
    folder : of the store
    manifest : Manifest of the store
    number : int, from 0, or negative from the end

    Raises
    ------
    StoreIndexError : the store has no such latent; it is an IndexError too.
    FileError : a shard is missing or damaged.
    """
    shards = range(manifest.shards)
    before = [0, *accumulate(read_head(folder, shard).pictures for shard in shards)]
    position = as_int(number) + (before[-1] if number < 0 else 0)
    if not 0 <= position < before[-1]:
        raise StoreIndexError(
            f"latent {number} of a store of {before[-1]:,}",
            f"a number from 0 to {before[-1] - 1:,}",
            "count from 0, or pass a path to index(path)",
        )
    shard = next(shard for shard in shards if position < before[shard + 1])
    lines = (line for line in read_images(folder, shard) if "skipped" not in line)
    wanted = position - before[shard]
    line = next((line for k, line in enumerate(lines) if k == wanted), None)
    if line is None:
        raise damaged(f"shard {shard} of {folder} with fewer latents than it says")
    return _read(folder, manifest, shard, line)


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
    """Return a pandas DataFrame with a row for each latent: path, shard, row, shape, size, sha256.

    Raises
    ------
    MissingExtraError : pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise MissingExtraError(
            "to_frame() without pandas", "pandas", "run pip install pandas"
        ) from error
    columns = ["path", "shard", "row", "channels", "height", "width", "size", "sha256"]
    rows = (
        (line["path"], line["shard"], line["row"], *line["shape"], line["size"], line["sha256"])
        for line in lines
    )
    return pandas.DataFrame(rows, columns=columns)


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
