"""A source of pictures becomes a store: shard after shard, from wherever it was left off."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from latentlab.batches import one_ahead
from latentlab.distributed import Ranks
from latentlab.errors import FileError, ImageError, UsageError
from latentlab.files import locked, open_durably
from latentlab.latents import Progress
from latentlab.runs import check_folder
from latentlab.store.encoding import ShardEncoder
from latentlab.store.listing import (
    LIST,
    check_list,
    is_list_of,
    listed_pictures,
    restore_list,
    write_list,
)
from latentlab.store.manifest import (
    MANIFEST,
    Manifest,
    check_same,
    plan,
    read_manifest,
    write_manifest,
)
from latentlab.store.preparing import Grid, Prepared
from latentlab.store.shards import (
    INDEX,
    find_fault,
    index_path,
    read_head,
    remove_unfinished,
)
from latentlab.store.sources import Source
from latentlab.store.workers import default_workers, prepared
from latentlab.store.writing import ShardWriter
from latentlab.threads import fixed_threads

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE


@dataclass(frozen=True)
class Filled:
    """What a run came to.

    Parameters
    ----------
    folder : Path, of the store
    computed : int, pictures that this rank read now, those that it skipped included
    seconds : float, which that took
    """

    folder: Path
    computed: int
    seconds: float

    @property
    def pictures_per_second(self) -> float | None:
        """Return the rate of this rank; None where nothing was left to do."""
        return self.computed / self.seconds if self.computed else None


def fill_store(
    vae: LatentVAE,
    source: Source,
    folder: Path,
    *,
    size: int | None = None,
    stored: str = "float16",
    per_shard: int | None = None,
    batch: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> Filled:
    """Encode every picture of a source into a store, or what an earlier run left undone.

    The same pictures, model and options give the same bytes, whatever was interrupted when, and
    with any number of workers and ranks (which torchrun gives one thread each: see ``threads``).
    Pictures that cannot be read are listed and skipped.

    Parameters
    ----------
    vae : LatentVAE
    source : Source, such as ``open_source(path)``
    folder : of the store; a new one, or one that was begun with the same choices
    size : int, optional; centre-crop to a square, then resize to size×size pixels. Without it
        pictures keep their size and are cropped to multiples of ``vae.spec.multiple``.
    stored : dtype of the latents in the store: float16, bfloat16 or float32
    per_shard : int, optional; pictures of a shard: 256, or as the store was begun
    batch : int, optional; pictures that the model sees at once: as many as suit the device, or
        as the store was begun
    threads : int, optional; of this process, for a model on the CPU. The last digits depend on
        it: as many as torch has now, or as the store was begun
    workers : int, optional; processes that decode pictures, 0 for none but this one. By default
        one less than the cores, and none beside a model on two; a picture that ends the process
        which decodes it is skipped where that is a worker, and ends this one where there is none
    ranks : this process among others that fill the same store
    progress : called as ``progress("encoding", done, total)``

    Raises
    ------
    FileError : the store was begun with another model, other options or other pictures, another
        process is writing it, or it cannot be written.
    ImageError : there is no picture.
    NonFiniteError : a latent is NaN, or beyond what the stored dtype holds; names the picture.
    UsageError : an option that makes no sense.
    """
    ranks = ranks or Ranks()
    if workers is None:
        workers = default_workers(beside_model=vae.device.type == "cpu")
    chosen = {"per_shard": per_shard, "batch": batch, "threads": threads}
    planned = plan(vae, source, size=size, stored=stored, **chosen)
    free = [name for name, number in chosen.items() if number is None]
    if ranks.is_first:
        _make_folder(folder)
    with locked(folder) if ranks.is_first else nullcontext():
        if ranks.is_first:
            remove_unfinished(folder)
            _begin_or_go_on(folder, planned, source, free, progress)
        ranks.wait("the list of pictures")
        manifest = read_manifest(folder)
        check_same(folder, manifest, planned, free)
        work = _Work(vae, source, folder, manifest, ranks, workers)
        with fixed_threads(manifest.threads):
            filled = work.run(progress)
        ranks.wait("the last shard")
        if ranks.is_first:
            merge_index(folder, manifest)
    return filled


def _make_folder(folder: Path) -> None:
    check_folder(folder)
    try:
        str(folder.resolve()).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"--out {folder}, whose name is no UTF-8",
            "a folder that safetensors can open",
            "choose another --out",
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    foreign = [name.name for name in folder.iterdir() if not name.name.startswith(".")]
    if MANIFEST not in foreign and set(foreign) - {LIST, "lost+found"}:
        raise FileError(
            f"{folder}, which holds other files, such as {min(foreign)}",
            "a store, or an empty folder",
            "choose another --out",
        )


def _begin_or_go_on(
    folder: Path,
    planned: Manifest,
    source: Source,
    free: Sequence[str],
    progress: Progress | None,
) -> None:
    """Leave a store that fits the plan, and write nothing if it was begun otherwise."""
    if not (folder / MANIFEST).exists():
        begin(folder, planned, source, progress)
        return
    begun = read_manifest(folder)
    check_same(folder, begun, planned, free)
    if is_list_of(folder, begun):
        check_list(folder, begun, source)
    else:
        restore_list(folder, begun, source)


def begin(
    folder: Path, planned: Manifest, source: Source, progress: Progress | None = None
) -> None:
    """List the pictures, write list and manifest into a new store.

    Raises
    ------
    ImageError : there is no picture.
    """
    with open_durably(folder / LIST) as file:
        digest, count = write_list(file, source, progress)
        if count == 0:
            raise ImageError(
                "no picture in the source",
                "files such as .jpg, .png or .webp that are not hidden",
                "name the folder that holds the pictures",
            )
    write_manifest(folder, replace(planned, pictures=count, list_sha256=digest))


@dataclass(frozen=True)
class _Work:
    """What one rank does for a store that was begun."""

    vae: LatentVAE
    source: Source
    folder: Path
    manifest: Manifest
    ranks: Ranks
    workers: int

    def run(self, progress: Progress | None) -> Filled:
        """Compute the shards that are missing or damaged."""
        missing = self._missing()
        started = time.monotonic()
        grid = Grid.of(self.manifest.size, self.manifest.spec.multiple)
        wanted = set(missing)
        paths = (path for shard, some in self._listed() if shard in wanted for path in some)
        pictures = prepared(self.source, paths, grid, workers=self.workers)
        # Writing takes time on slow disks; meanwhile the model goes on with the next shard.
        with closing(paths), closing(pictures), ShardWriter(self.folder) as writer:
            begun = self._begun(missing, pictures, progress)
            for encoded in one_ahead(begun, ahead=self.vae.runs_aside):
                writer.write(encoded)
            writer.wait()
        return Filled(self.folder, self._count(missing), time.monotonic() - started)

    def _begun(
        self, missing: Sequence[int], pictures: Iterator[Prepared], progress: Progress | None
    ) -> Iterator[ShardEncoder]:
        """Yield each missing shard when the model was given all its pictures."""
        total = self._count(self._shards())
        done = total - self._count(missing)
        for shard in missing:
            encoder = ShardEncoder(self.vae, self.manifest, shard)
            for picture in islice(pictures, len(self.manifest.rows_of(shard))):
                encoder.add(picture)
                done += 1
                if progress:
                    progress("encoding", done, total)
            encoder.begin_rest()
            yield encoder

    def _count(self, shards: Iterable[int]) -> int:
        return sum(len(self.manifest.rows_of(shard)) for shard in shards)

    def _shards(self) -> range:
        return range(self.ranks.rank, self.manifest.shards, self.ranks.world)

    def _listed(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the paths of each of this rank's shards."""
        with closing(listed_pictures(self.folder)) as entries:
            for shard in range(self.manifest.shards):
                paths = [entry.path for entry in islice(entries, self.manifest.per_shard)]
                if shard % self.ranks.world == self.ranks.rank:
                    yield shard, paths

    def _missing(self) -> list[int]:
        """Return this rank's shards that must be computed, in order."""
        missing = []
        for shard, paths in self._listed():
            if not index_path(self.folder, shard).exists():
                missing.append(shard)
                continue
            fault = find_fault(self.folder, shard, paths)
            if fault:
                warnings.warn(f"shard {shard} is computed again: {fault}", stacklevel=2)
            if fault or read_head(self.folder, shard).retry:
                missing.append(shard)
        return missing


def merge_index(folder: Path, manifest: Manifest) -> Path:
    """Write the lines of all shards into ``index.jsonl``; return its path."""
    with open_durably(folder / INDEX) as merged:
        for shard in range(manifest.shards):
            with index_path(folder, shard).open("rb") as lines:
                lines.readline()
                shutil.copyfileobj(lines, merged)
    return folder / INDEX
