"""A finished store, read in constant memory whatever the number of latents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor

from latentlab.errors import ShapeError, UsageError, counted
from latentlab.figures.tables import html_table
from latentlab.latents import Latent, LatentSpec
from latentlab.store.items import index_of, latents_at, latents_in_order, position_of, table_of
from latentlab.store.lines import damaged
from latentlab.store.listing import LIST
from latentlab.store.manifest import STORED_DTYPES, Manifest, read_manifest
from latentlab.store.opening import MANIFEST
from latentlab.store.shards import (
    INDEX,
    Head,
    Shape,
    index_path,
    latents_path,
    read_head,
    read_images,
    tensor_name,
)

if TYPE_CHECKING:
    import torch

_SHOWN = ("longest", "per_shard", "batch", "threads", "tile", "compiled")


@dataclass(frozen=True, eq=False, repr=False)
class Store:
    """The latents of many images in the order of their list, as :func:`open_store` returns them.

    Parameters
    ----------
    folder : Path
    manifest : Manifest, the settings that all latents share
    shapes : (C, h, w) → number of latents
    skipped : int, images of the list that could not be encoded
    bytes : int, size of all files of latents
    counts : number of latents in each shard
    only : the one shape of a bucket, or None for the whole store
    """

    folder: Path
    manifest: Manifest
    shapes: Mapping[Shape, int]
    skipped: int
    bytes: int
    counts: tuple[int, ...]
    only: Shape | None = field(default=None, kw_only=True)

    def bucket(self, shape: str | Shape) -> Store:
        """Return the latents of one shape, such as ``"4x32x48"`` or (4, 32, 48), as a store.

        Raises
        ------
        UsageError : no latent has this shape.
        """
        names = {"x".join(map(str, known)): known for known in self.shapes}
        name = shape if isinstance(shape, str) else "x".join(map(str, shape))
        if name not in names:
            raise UsageError(f"bucket {name}", f"one of {', '.join(names)}", "pass one of them")
        return replace(self, shapes={names[name]: self.shapes[names[name]]}, only=names[name])

    def __len__(self) -> int:
        """Return the number of latents."""
        return sum(self.shapes.values())

    @overload
    def __getitem__(self, number: int) -> Latent: ...
    @overload
    def __getitem__(self, number: slice) -> list[Latent]: ...
    def __getitem__(self, number: int | slice) -> Latent | list[Latent]:
        """Return one latent, float32, by its number, or those of a slice, as sequences do.

        A slice is read at once; ``batches`` reads any number of latents in constant memory.

        Raises
        ------
        StoreIndexError : there is no such latent.
        FileError : a shard is missing or damaged.
        """
        if isinstance(number, slice):
            positions = range(*number.indices(len(self)))
            return latents_at(self.folder, self.manifest, self.counts, self._numbers(positions))
        chosen = self._numbers([position_of(number, len(self))])
        return latents_at(self.folder, self.manifest, self.counts, chosen)[0]

    def take(self, numbers: Sequence[int]) -> list[Latent]:
        """Return some latents, float32, by their numbers from 0, in any order.

        Only their own rows are read.

        Raises
        ------
        StoreIndexError : there is no such latent.
        FileError : a shard is missing or damaged.
        """
        positions = [position_of(number, len(self)) for number in numbers]
        return latents_at(self.folder, self.manifest, self.counts, self._numbers(positions))

    def _numbers(self, positions: Sequence[int]) -> Sequence[int]:
        """Return the numbers in the whole store of latents of this bucket."""
        if self.only is None:
            return positions
        lines = (line for line in self._lines() if "skipped" not in line)
        every = [k for k, line in enumerate(lines) if tuple(line["shape"]) == self.only]
        return [every[position] for position in positions]

    def __iter__(self) -> Iterator[Latent]:
        """Yield every latent, one at a time, whatever their shapes."""
        every = latents_in_order(self.folder, self.manifest)
        return (one for one in every if self.only in (None, tuple(one.values.shape)))

    def index(self, path: str) -> int:
        """Return the number of the latent of an image, by its path in the source.

        Raises
        ------
        FileError : no image has this path, or it was skipped.
        """
        return index_of(self.images(), path, self.folder)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each image of the list, in its order.

        ``path``; ``number``, so that ``store[number]`` is the latent; ``shard`` and ``row``;
        ``channels``, ``height`` and ``width`` of the latent; ``size`` in bytes and ``sha256`` of
        the image; ``skipped``, why it has no latent. What is unknown is missing (``isna()``).

        Raises
        ------
        MissingExtraError : pandas is not installed.
        """
        return table_of(self._lines())

    def __repr__(self) -> str:
        shapes = ", ".join("×".join(map(str, shape)) for shape in self.shapes)
        return f"Store({str(self.folder)!r}: {len(self):,} latents in {self.spec.name}, {shapes})"

    def _repr_html_(self) -> str:
        shapes = [("×".join(map(str, shape)), count) for shape, count in self.shapes.items()]
        notes = [
            f"{self.skipped:,} images skipped: see to_frame()." if self.skipped else "",
            f"{self.manifest.preprocessing}, stored as {self.manifest.stored}, "
            f"{self.bytes:,} bytes.",
        ]
        title = f"{self.folder} · {self.spec.name} · {len(self):,} latents"
        return html_table(("shape", "latents"), shapes, title=title, notes=notes)

    @property
    def spec(self) -> LatentSpec:
        """Return name, channels and stride of the model's latents."""
        return self.manifest.spec

    def summary(self) -> dict[str, Any]:
        """Return all that ``latentlab store info --json`` prints."""
        manifest = self.manifest
        return {
            "store": str(self.folder),
            "pictures": len(self),
            "skipped": self.skipped,
            "left_out": dict(manifest.left_out),
            "shards": len(self.counts),
            "bytes": self.bytes,
            "shapes": {"x".join(map(str, shape)): count for shape, count in self.shapes.items()},
            "model": manifest.model["name"],
            "space": manifest.space,
            "normalization": manifest.model["normalization"],
            "size": manifest.size,
            "preprocessing": manifest.preprocessing,
            "dtype": manifest.dtype,
            "store_dtype": manifest.stored,
            **{name: getattr(manifest, name) for name in _SHOWN},
            **({"removed": list(manifest.removed)} if manifest.removed else {}),
        }

    def files(self) -> Iterator[Path]:
        """Yield the path of every file that belongs to the store."""
        yield from (self.folder / MANIFEST, self.folder / LIST)
        for shard in range(self.manifest.shards):
            yield from (latents_path(self.folder, shard), index_path(self.folder, shard))
        yield self.folder / INDEX

    def images(self) -> Iterator[dict[str, Any]]:
        """Return path, size, sha256, shape, shard and row of every latent, in order."""
        lines = (line for line in self._lines() if "skipped" not in line)
        return (line for line in lines if self.only in (None, tuple(line["shape"])))

    def skips(self) -> Iterator[dict[str, Any]]:
        """Return path and reason, as ``skipped``, of every image that could not be encoded."""
        return (line for line in self._lines() if "skipped" in line) if self.skipped else iter(())

    def _lines(self) -> Iterator[dict[str, Any]]:
        for shard in range(len(self.counts)):
            yield from self.lines_of(shard)

    def lines_of(self, shard: int) -> Iterator[dict[str, Any]]:
        """Yield the line of each image of a shard, including those that were skipped."""
        return read_images(self.folder, shard)

    def paths(self) -> Iterator[str]:
        """Return the path of every latent's image in the source, in order."""
        return (str(line["path"]) for line in self.images())

    @property
    def shape(self) -> Shape:
        """Return the shape (C, h, w) that all latents have.

        Raises
        ------
        ShapeError : they have several shapes, or there are no latents.
        """
        if len(self.shapes) == 1:
            return next(iter(self.shapes))
        if not self.shapes:
            raise ShapeError(
                f"no latent in {self.folder}, all of whose {self.skipped:,} images were skipped",
                "at least one",
                f'see "skipped" in {self.folder / INDEX}',
            )
        shown = ", ".join("×".join(map(str, shape)) for shape in [*self.shapes][:3])
        raise ShapeError(
            f"latents of {len(self.shapes)} shapes in {self.folder} ({shown})",
            "one shape",
            "pass --bucket with one of them (store.bucket), or take the cells: -k tokens",
        )

    def batches(self, rows: int, *, first_shard: int = 0, every: int = 1) -> Iterator[Tensor]:
        """Yield latents (n, C, h, w), float32, in the order of the list; n is at most ``rows``.

        A batch holds latents of one shard. It is read when it is asked for, so that memory does
        not depend on the number of latents.

        Parameters
        ----------
        rows : int
        first_shard, every : int; only the shards first_shard, first_shard + every, … are read, so
            that ranks can share a store: ``batches(rows, first_shard=rank, every=world)``

        Raises
        ------
        ShapeError : the latents have several shapes.
        FileError : a shard is missing or damaged.
        UsageError : rows or every is below 1, or first_shard is below 0.
        """
        if min(rows, every) < 1 or first_shard < 0:
            raise UsageError(
                f"rows={rows}, first_shard={first_shard}, every={every}",
                "rows and every of at least 1, first_shard of at least 0",
                "raise them",
            )
        shape, shards = self.shape, range(first_shard, len(self.counts), every)
        return (latents for shard in shards for latents in self.blocks_of(shard, shape, rows))

    def blocks(self, rows: int, *, first_shard: int = 0, every: int = 1) -> Iterator[Tensor]:
        """Yield latents (n, C, h, w), float32, of every shape; n is at most ``rows``.

        Shard by shard, and in each of them shape by shape; shards as for ``batches``.
        """
        for shard in range(first_shard, len(self.counts), every):
            for shape in self.shapes:
                yield from self.blocks_of(shard, shape, rows)

    def blocks_of(self, shard: int, shape: Shape, rows: int) -> Iterator[Tensor]:
        """Yield the latents of one shard, float32, at most ``rows`` at a time."""
        return (latents.float() for latents in self.stored_of(shard, shape, rows))

    @property
    def exact_dtype(self) -> torch.dtype | None:
        """Return the 16-bit dtype that ``stored_of`` yields; None if it is another, or several."""
        import torch

        return {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(self.manifest.stored)

    def stored_of(self, shard: int, shape: Shape, rows: int) -> Iterator[Tensor]:
        """Yield the latents of one shard in the dtype of the store; a file may lie behind them."""
        from safetensors import SafetensorError, safe_open

        path = latents_path(self.folder, shard)
        count = read_head(self.folder, shard).shapes.get(shape, 0)
        if not count:
            return
        kind, whole = STORED_DTYPES[self.manifest.stored], (count, *shape)
        try:
            with safe_open(path, framework="pt") as file:
                latents = file.get_slice(tensor_name(shape))
                found = latents.get_dtype(), tuple(latents.get_shape())
                if found != (kind, whole):
                    got = f"{path} with {found[0]} of shape {found[1]}"
                    raise damaged(got, f"{kind} of shape {whole} as its index says")
                for start in range(0, count, rows):
                    yield latents[start : start + rows]
        except (OSError, SafetensorError) as error:
            raise damaged(f"{path} ({error})", "latents of a store") from error


def open_store(path: str | Path) -> Store:
    """Return a finished store, for reading.

    Only the first line of each shard's index is read; ``latentlab store verify`` checks the rest.
    The latents are in model space, as :func:`latentlab.encode` returns them, and come as float32
    whatever the dtype that they are stored in.

    Parameters
    ----------
    path : str or Path; a folder that :func:`latentlab.encode_folder` or ``latentlab encode`` wrote

    Returns
    -------
    Store : ``len(store)`` latents; ``store[0]`` is the first one and ``store[2:5]`` a list;
        ``store.batches(rows)`` yields them as tensors (n, C, h, w) and ``store.paths()`` the
        paths of their images, in the order of the list; ``store.index(path)`` is the number of one

    Raises
    ------
    FileError : there is no store, it is not finished, or a file of it is missing or too short.

    Examples
    --------
    >>> import tempfile
    >>> import latentlab
    >>> from latentlab.images.examples import example_folder
    >>> vae = latentlab.load_vae("linear", device="cpu")
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = latentlab.encode_folder(vae, example_folder(), place, size=64, workers=0)
    ...     store = open_store(place)
    ...     print(len(store), list(store.paths()))
    ...     for latents in store.batches(64):
    ...         print(latents.shape, latents.dtype)
    2 ['china.jpg', 'flower.jpg']
    torch.Size([2, 16, 8, 8]) torch.float32
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    there = [index_path(folder, shard).exists() for shard in range(manifest.shards)]
    if not all(there):
        raise damaged(f"{folder} with {sum(there):,} of {len(there):,} shards", "a finished store")
    if index_path(folder, manifest.shards).exists():
        raise damaged(
            f"{folder} with more than {counted(manifest.shards, 'shards')}", f"what {MANIFEST} says"
        )
    shapes: Counter[Shape] = Counter()
    counts, skipped, size = [], 0, 0
    for shard in range(manifest.shards):
        head, latents = read_head(folder, shard), latents_path(folder, shard)
        found = latents.stat().st_size if latents.is_file() else 0
        if found != head.bytes:
            raise damaged(f"{latents} with {found:,} bytes", f"{head.bytes:,} as its index says")
        _check_counts(manifest, head, latents)
        shapes.update(head.shapes)
        counts.append(head.pictures)
        skipped += head.skipped
        size += head.bytes
    return Store(folder, manifest, dict(sorted(shapes.items())), skipped, size, tuple(counts))


def _check_counts(manifest: Manifest, head: Head, latents: Path) -> None:
    """Raise FileError if a shard holds other latents than the settings of its store allow."""
    listed, whole = manifest.count([head.shard]), head.pictures + head.skipped
    if whole != listed or sum(head.shapes.values()) != head.pictures:
        raise damaged(f"{latents} of {whole:,} images", f"{listed:,} as {MANIFEST} says")
    for shape in head.shapes:
        if shape[0] != manifest.spec.channels:
            got = f"{latents} with latents of {shape[0]} channels"
            raise damaged(got, f"{manifest.spec.channels} as {MANIFEST} says")
