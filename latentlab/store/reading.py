"""A finished store, read in constant memory however many latents it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError, ShapeError, UsageError
from latentlab.latents import LatentSpec
from latentlab.store.listing import LIST
from latentlab.store.manifest import MANIFEST, STORED_DTYPES, Manifest, read_manifest
from latentlab.store.shards import (
    INDEX,
    Head,
    Shape,
    index_path,
    latents_path,
    read_head,
    read_pictures,
    tensor_name,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Store:
    """The latents of many pictures, in the order of their list: what :func:`open_store` returns.

    Parameters
    ----------
    folder : Path
    manifest : Manifest, what is the same for all of them
    shapes : (C, h, w) → how many latents
    skipped : int, pictures of the list that could not be read
    bytes : int, of the latents' files
    """

    folder: Path
    manifest: Manifest
    shapes: Mapping[Shape, int]
    skipped: int
    bytes: int

    def __len__(self) -> int:
        """Return the number of latents."""
        return sum(self.shapes.values())

    def __repr__(self) -> str:
        shapes = ", ".join("×".join(map(str, shape)) for shape in self.shapes)
        return f"Store({str(self.folder)!r}: {len(self):,} latents in {self.spec.name}, {shapes})"

    @property
    def spec(self) -> LatentSpec:
        """Return what the latents of the model look like."""
        return self.manifest.spec

    def summary(self) -> dict[str, Any]:
        """Return every number that ``latentlab store info --json`` prints."""
        manifest = self.manifest
        return {
            "store": str(self.folder),
            "pictures": len(self),
            "skipped": self.skipped,
            "shards": manifest.shards,
            "bytes": self.bytes,
            "shapes": {"x".join(map(str, shape)): count for shape, count in self.shapes.items()},
            "model": manifest.model["name"],
            "normalization": manifest.model["normalization"],
            "size": manifest.size,
            "preprocessing": manifest.preprocessing,
            "dtype": manifest.dtype,
            "store_dtype": manifest.stored,
            "per_shard": manifest.per_shard,
            "batch": manifest.batch,
            "threads": manifest.threads,
            "tile": manifest.tile,
            "compiled": manifest.compiled,
        }

    def files(self) -> Iterator[Path]:
        """Yield the files of the store, all that belong to it."""
        yield from (self.folder / name for name in (MANIFEST, LIST))
        for shard in range(self.manifest.shards):
            yield from (latents_path(self.folder, shard), index_path(self.folder, shard))
        yield self.folder / INDEX

    def pictures(self) -> Iterator[dict[str, Any]]:
        """Yield path, size, sha256, shape, shard and row of every latent, in order."""
        for shard in range(self.manifest.shards):
            for line in read_pictures(self.folder, shard):
                if "skipped" not in line:
                    yield line

    def paths(self) -> Iterator[str]:
        """Yield the path of every latent's picture below the source, in order."""
        for line in self.pictures():
            yield str(line["path"])

    @property
    def shape(self) -> Shape:
        """Return the shape (C, h, w) that all latents have.

        Raises
        ------
        ShapeError : they have several, or there are none.
        """
        if len(self.shapes) == 1:
            return next(iter(self.shapes))
        if not self.shapes:
            raise ShapeError(
                f"no latent in {self.folder}, all of whose {self.skipped:,} pictures were skipped",
                "one or more",
                f'see "skipped" in {self.folder / INDEX}',
            )
        shown = ", ".join("×".join(map(str, shape)) for shape in [*self.shapes][:3])
        raise ShapeError(
            f"latents of {len(self.shapes)} shapes in {self.folder} ({shown})",
            "one shape",
            "encode the pictures with --size SIZE into another store",
        )

    def batches(self, rows: int, *, first_shard: int = 0, every: int = 1) -> Iterator[Tensor]:
        """Yield latents (n, C, h, w), float32, in the order of the list; n is at most ``rows``.

        A batch never reaches from one shard into the next. Each is read when it is asked for,
        so that memory does not depend on how many there are.

        Parameters
        ----------
        rows : int
        first_shard, every : int; only shards first_shard, first_shard + every, …, so that ranks
            can share a store: ``batches(rows, first_shard=rank, every=world)``

        Raises
        ------
        ShapeError : the latents have several shapes.
        FileError : a shard is missing or damaged.
        UsageError : rows or every below 1, or first_shard below 0.
        """
        if min(rows, every) < 1 or first_shard < 0:
            raise UsageError(
                f"rows={rows}, first_shard={first_shard}, every={every}",
                "rows and every of at least 1, first_shard of at least 0",
                "raise them",
            )
        return self._batches(self.shape, rows, range(first_shard, self.manifest.shards, every))

    def _batches(self, shape: Shape, rows: int, shards: range) -> Iterator[Tensor]:
        for shard in shards:
            count = read_head(self.folder, shard).shapes.get(shape, 0)
            if not count:
                continue
            with _opened(latents_path(self.folder, shard)) as file:
                latents = file.get_slice(tensor_name(shape))
                self._check_tensor(latents, (count, *shape), shard)
                for start in range(0, count, rows):
                    yield latents[start : start + rows].float()

    def _check_tensor(self, latents: Any, shape: tuple[int, ...], shard: int) -> None:
        kind = STORED_DTYPES[self.manifest.stored]
        if (tuple(latents.get_shape()), latents.get_dtype()) != (shape, kind):
            raise FileError(
                f"{latents_path(self.folder, shard)} with {latents.get_dtype()} of shape "
                f"{tuple(latents.get_shape())}",
                f"{kind} of shape {shape} as its index says",
                "run `latentlab encode` again, as before",
            )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise FileError(
            f"{path} ({error})", "latents of a store", "run `latentlab encode` again, as before"
        ) from error


def open_store(path: str | Path) -> Store:
    """Return a finished store, for reading.

    Only the first line of each shard's index is read; `latentlab store verify` checks the rest.

    Raises
    ------
    FileError : no store, one that is not finished, or one of whose files is missing or short.

    Examples
    --------
    >>> store = open_store("photos-taef2")  # doctest: +SKIP
    >>> for latents in store.batches(64):  # doctest: +SKIP
    ...     print(latents.shape)
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    there = [index_path(folder, shard).exists() for shard in range(manifest.shards)]
    if not all(there):
        raise FileError(
            f"{folder} with {sum(there):,} of {len(there):,} shards",
            "a finished store",
            "run `latentlab encode` with the same options, which continues it",
        )
    shapes: Counter[Shape] = Counter()
    skipped = size = 0
    for shard in range(manifest.shards):
        head = _checked_head(folder, shard)
        shapes.update(head.shapes)
        skipped += head.skipped
        size += head.bytes
    return Store(folder, manifest, dict(sorted(shapes.items())), skipped, size)


def _checked_head(folder: Path, shard: int) -> Head:
    head, path = read_head(folder, shard), latents_path(folder, shard)
    found = path.stat().st_size if path.is_file() else 0
    if found != head.bytes:
        raise FileError(
            f"{path} with {found:,} bytes",
            f"{head.bytes:,} as in its index",
            "run `latentlab encode` with the same options, which computes that shard again",
        )
    return head
