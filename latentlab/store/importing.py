"""Latents that other programs wrote, copied into a store."""

from __future__ import annotations

import hashlib
import re
import shutil
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from latentlab.errors import FileError, UsageError, counted
from latentlab.latents import Progress
from latentlab.machine.files import check_folder, locked, open_durably
from latentlab.store.foreign import ForeignLatents
from latentlab.store.lines import line_of
from latentlab.store.listing import LIST
from latentlab.store.manifest import STORED_DTYPES, write_manifest
from latentlab.store.parts import hash_of, sentence
from latentlab.store.reading import Store, open_store
from latentlab.store.shards import INDEX, Shape, lines_of_index, write_shard

_ROWS = 64


def import_latents(
    source: Store,
    out: str | Path,
    *,
    store_dtype: str | None = None,
    per_shard: int = 256,
    progress: Progress | None = None,
) -> Store:
    """Copy the latents that :func:`open_latents` found into a new store, and return it.

    Labels, original sizes and crops become ``fields`` of the lines of its index. What cannot be
    read or holds NaN or infinity is listed there with the reason. The folder appears once it is
    complete. Hidden folders beside it that killed imports into it left are removed: a warning names
    them, and ``removed`` in the manifest.

    Parameters
    ----------
    source : ForeignLatents, of any number of shapes
    out : str or Path; a new or empty folder
    store_dtype : ``"float16"``, ``"bfloat16"`` or ``"float32"``; default: as they are, or float32
    per_shard : int, latents in one file
    progress : called as ``progress("importing", done, total)``, in latents

    Raises
    ------
    FileError : ``out`` holds something, or no latent could be read.
    UsageError : the source is a store already, or another dtype.
    """
    folder = Path(out)
    if not isinstance(source, ForeignLatents):
        raise UsageError(f"{source.folder}, a store", "latents of another program", "use it as is")
    stored = store_dtype or source.manifest.stored
    if stored not in STORED_DTYPES:
        raise UsageError(
            f"--store-dtype {stored}", " or ".join(STORED_DTYPES), "choose one of these"
        )
    check_folder(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(f"{folder}, which is not empty", "a new folder", "choose another --out")
    removed = _remove_unfinished(folder)
    if removed:
        warnings.warn(
            f"removed {', '.join(removed)} beside {folder}: left by "
            f"{counted(len(removed), 'imports')} that did not end",
            stacklevel=2,
        )
    source = replace(source, manifest=replace(source.manifest, removed=removed))
    unfinished = folder.with_name(f".{folder.name}-{uuid4().hex[:8]}")
    unfinished.mkdir(parents=True)
    try:
        with locked(unfinished):
            _copy(source, unfinished, stored, per_shard, progress)
            with suppress(OSError):
                folder.rmdir()
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return open_store(folder)


def _remove_unfinished(folder: Path) -> tuple[str, ...]:
    """Remove what imports into a folder left that were killed; return the names of what is gone.

    What an import is writing stays. Where nothing says whether one is writing, nothing is removed.
    """
    name = re.compile(re.escape(f".{folder.name}-") + "[0-9a-f]{8}")
    removed: list[str] = []
    for path in sorted(folder.parent.iterdir()) if folder.parent.is_dir() else ():
        if name.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            # It may be another user's, or be gone by now.
            with suppress(FileError, OSError), locked(path) as held:
                if held:
                    shutil.rmtree(path, ignore_errors=True)
                    removed += [path.name] * (not path.exists())
    return tuple(removed)


def _copy(
    source: ForeignLatents, folder: Path, stored: str, per_shard: int, progress: Progress | None
) -> None:
    """Write list, shards, index and manifest."""
    shard, count, digest = _Shard(folder, 0), 0, hashlib.sha256()
    with open_durably(folder / LIST) as listed:
        for line, values in _entries(source, getattr(torch, stored)):
            entry = line_of({"path": line["path"], "size": line.get("size", 0)})
            digest.update(entry)
            listed.write(entry)
            if len(shard.lines) == per_shard:
                shard = shard.written()
            shard.add(line, values)
            count += 1
            if progress:
                progress("importing", min(count, len(source)), len(source))
    shards = shard.written().number
    if not any(open_shapes(folder, shards)):
        first = next(iter(source.faults.items()), ("", "all are NaN or infinite"))
        raise FileError(f"no latent in {source.folder} ({first[1]})", "one", "see its program")
    with open_durably(folder / INDEX) as merged:
        merged.writelines(lines_of_index(folder, number) for number in range(shards))
    counts: dict[str, Any] = {
        "pictures": count,
        "per_shard": per_shard,
        "list_sha256": digest.hexdigest(),
    }
    write_manifest(folder, replace(source.manifest, stored=stored, **counts))


def open_shapes(folder: Path, shards: int) -> Iterator[bool]:
    """Yield whether each shard holds a latent."""
    from latentlab.store.shards import read_head

    return (bool(read_head(folder, number).shapes) for number in range(shards))


def _entries(
    source: ForeignLatents, dtype: torch.dtype
) -> Iterator[tuple[dict[str, Any], Tensor | None]]:
    """Yield the line of each latent with its values, and of each fault with None."""
    for part in source.parts:
        try:
            for start, block in part.blocks(_ROWS):
                latents = source.in_space(block).to(dtype)
                good = latents.flatten(1).isfinite().all(1)
                for offset, values in enumerate(latents):
                    row = start + offset
                    line = {"path": part.name(row), "size": part.line(row)["size"]}
                    if row in part.dropped:
                        continue
                    if good[offset]:
                        yield {**part.line(row), "sha256": hash_of(block[offset])}, values
                    else:
                        finite = bool(block[offset].isfinite().all())
                        why = f"beyond the range of {dtype}" if finite else "NaN or infinite values"
                        yield {**line, "skipped": why}, None
        except FileError as error:
            yield {"path": part.place.name, "skipped": sentence(part.place, error)}, None
    for name, why in source.faults.items():
        yield {"path": name, "skipped": why}, None


class _Shard:
    """The lines and latents of one shard, until they are written."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.lines: list[dict[str, Any]] = []
        self.latents: dict[Shape, list[Tensor]] = defaultdict(list)

    def add(self, line: dict[str, Any], values: Tensor | None) -> None:
        line["shard"] = self.number
        if values is not None:
            channels, height, width = values.shape
            rows = self.latents[channels, height, width]
            line["row"] = len(rows)
            rows.append(values.clone())
        self.lines.append(line)

    def written(self) -> _Shard:
        """Write the shard, if it is not empty, and return the next."""
        if not self.lines:
            return self
        latents = {shape: torch.stack(rows) for shape, rows in sorted(self.latents.items())}
        write_shard(self.folder, self.number, latents, self.lines)
        return _Shard(self.folder, self.number + 1)
