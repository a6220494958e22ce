"""A store is filled from a source of images, shard by shard; an interrupted run can be resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from latentlab.encoding.batches import one_ahead
from latentlab.errors import FileError, ImageError, UsageError
from latentlab.images.fit import AUTO
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.machine.distributed import Ranks
from latentlab.machine.files import check_folder, locked, open_durably
from latentlab.machine.threads import fixed_threads
from latentlab.store.encoding import ShardEncoder
from latentlab.store.listing import LIST, check_list, paths_by_shard, write_list
from latentlab.store.manifest import Manifest, plan, read_same, write_manifest
from latentlab.store.opening import MANIFEST, open_source
from latentlab.store.preparing import Prepared, prepare
from latentlab.store.shards import INDEX, is_finished, lines_of_index, remove_unfinished
from latentlab.store.sources import Source, left_out
from latentlab.store.workers import default_workers, prepared
from latentlab.store.writing import ShardWriter


@dataclass(frozen=True)
class Filled:
    """What one run of an encoding did.

    Parameters
    ----------
    folder : Path, of the store
    computed : int, images that this rank read in this run, including those that it skipped
    seconds : float, how long that took
    """

    folder: Path
    computed: int
    seconds: float

    @property
    def images_per_second(self) -> float | None:
        """Return the rate of this rank; None if nothing was left to do, or no time passed."""
        return self.computed / self.seconds if self.computed and self.seconds else None


def encode_folder(
    vae: LatentVAE,
    path: str | Path | Source,
    out: str | Path,
    *,
    size: int | str = AUTO,
    store_dtype: str = "float16",
    per_shard: int | None = None,
    batch: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> Filled:
    """Encode every image of a folder into a store and return what this run did.

    The store holds one latent (C, h, w) in model space for each image; read it with
    :func:`latentlab.open_store`. An interrupted run is resumed by the same call. The same images,
    model and options give the same bytes, whether or not runs were interrupted, and for any number
    of workers and ranks (torchrun gives each rank one thread; see ``threads``). Images that
    cannot be read are listed in the index and skipped.

    Parameters
    ----------
    vae : LatentVAE
    path : str or Path; a folder with its subfolders, a tar, zip or parquet file or a folder of
        these, or a folder that Hugging Face's ``datasets`` wrote. Or a Source of your own.
    out : str or Path; the store: a new folder, or a store that was begun with the same settings
    size : int, optional; center-crop to a square, then resize to size×size pixels. By default
        images keep their shape, those with a side above 384 px (1,024 on a GPU) are shrunk to that,
        and all are cropped to multiples of ``vae.spec.multiple`` pixels. ``"native"`` shrinks none.
    store_dtype : ``"float16"``, ``"bfloat16"`` or ``"float32"``; dtype of the stored latents
    per_shard : int, optional; images in one shard. By default 256, or that of the store.
    batch : int, optional; images in one call of the model. By default chosen for the device, or
        that of the store.
    threads : int, optional; CPU threads of this process, which change the last digits. By default
        torch's current number, or that of the store. Not used on a GPU.
    workers : int, optional; processes that decode images; 0 decodes in this process. By default
        one less than the cores, or 0 when the model itself runs on a two-core CPU. An image that
        crashes a worker is skipped; without workers it ends this process.
    ranks : Ranks, optional; this process among others that fill the same store
    progress : called as ``progress("listing", done, done)`` and
        ``progress("encoding", done, total)``, in images

    Returns
    -------
    Filled : the folder of the store, the number of images read in this run, and the seconds

    Raises
    ------
    ImageError : ``path`` is no source of images, or holds none.
    FileError : the store was begun with another model, other settings or other images, another
        process is writing it, it cannot be written, or no image of a shard can be read.
    NonFiniteError : a latent is NaN or exceeds the range of the stored dtype; names the image.
    MemoryLimitError : an image of size×size pixels does not fit into memory.
    RanksError : another rank has failed.
    UsageError : an option has an invalid value.

    Examples
    --------
    >>> import tempfile
    >>> import latentlab
    >>> from PIL import Image
    >>> place = tempfile.TemporaryDirectory()
    >>> photos, store = Path(place.name, "photos"), Path(place.name, "store")
    >>> photos.mkdir()
    >>> for name, level in {"dark.png": 50, "bright.png": 200}.items():
    ...     Image.new("RGB", (80, 64), (level, level, level)).save(photos / name)
    >>> vae = latentlab.load_vae("linear", device="cpu")
    >>> encode_folder(vae, photos, store, size=64, workers=0).computed
    2
    >>> latents = latentlab.open_store(store)
    >>> list(latents.paths()), latents.shape
    (['bright.png', 'dark.png'], (16, 8, 8))
    >>> place.cleanup()
    """
    source = open_source(path) if isinstance(path, str | Path) else path
    folder = Path(out)
    ranks = ranks or Ranks()
    if workers is None:
        workers = default_workers(beside_model=vae.device.type == "cpu")
    counts = {"per_shard": per_shard, "batch": batch, "threads": threads}
    planned = plan(vae, source, size, store_dtype, counts)
    with ExitStack() as stack:
        if ranks.is_first:
            check_new_store(folder)
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder))
            remove_unfinished(folder)
            if (folder / MANIFEST).exists():
                check_list(folder, read_same(folder, planned, counts, size), source)
            else:
                begin(folder, planned, source, progress)
        ranks.wait("the list of images")
        manifest = read_same(folder, planned, counts, size)
        with fixed_threads(manifest.threads):
            filled = _fill(vae, source, folder, manifest, ranks, workers, progress)
        ranks.wait("the last shard")
        if ranks.is_first:
            with open_durably(folder / INDEX) as merged:
                merged.writelines(lines_of_index(folder, k) for k in range(manifest.shards))
    return filled


def check_new_store(folder: Path) -> None:
    """Raise what keeps a folder from becoming a store, or from being filled further.

    Raises
    ------
    FileError : it cannot be written, or holds files of something else.
    UsageError : its name is not valid text.
    """
    check_folder(folder)
    try:
        str(folder.resolve()).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"--out {folder}, whose name is not valid UTF-8",
            "a folder that safetensors can open",
            "choose another --out",
        ) from error
    held = folder.iterdir() if folder.exists() else ()
    names = {path.name for path in held if not path.name.startswith(".")}
    foreign = names - {LIST, "lost+found"}
    if foreign and MANIFEST not in names:
        raise FileError(
            f"{folder}, which holds other files, such as {min(foreign)}",
            "a store, or an empty folder",
            "choose another --out",
        )


def begin(
    folder: Path, planned: Manifest, source: Source, progress: Progress | None = None
) -> None:
    """List the images, and write the list and the manifest into a new store.

    Raises
    ------
    ImageError : there is no image.
    """
    with open_durably(folder / LIST) as file:
        digest, count = write_list(file, source, progress)
        if count == 0:
            raise ImageError(
                "no image in the source",
                "files such as .jpg, .png or .webp that are not hidden",
                "name the folder that holds the images",
            )
    listed = replace(planned, pictures=count, list_sha256=digest)
    write_manifest(folder, replace(listed, left_out=dict(left_out(source))))


def _fill(
    vae: LatentVAE,
    source: Source,
    folder: Path,
    manifest: Manifest,
    ranks: Ranks,
    workers: int,
    progress: Progress | None,
) -> Filled:
    """Compute the shards of this rank that are missing or damaged."""

    def listed() -> Iterator[tuple[int, list[str]]]:
        shards = enumerate(paths_by_shard(folder, manifest))
        return islice(shards, ranks.rank, None, ranks.world)

    missing = [shard for shard, paths in listed() if not is_finished(folder, shard, paths)]
    total = manifest.count(range(ranks.rank, manifest.shards, ranks.world))
    started = time.monotonic()
    wanted = set(missing)
    paths = (path for shard, some in listed() if shard in wanted for path in some)
    one = partial(prepare, source, manifest.fit)
    images = prepared(one, paths, workers=workers)
    # Writing takes time on slow disks; meanwhile the model works on the next shard.
    with closing(paths), closing(images), ShardWriter(folder) as writer:
        begun = _begin_shards(vae, manifest, missing, images, total, progress)
        for encoded in one_ahead(begun, ahead=vae.runs_aside):
            writer.write(encoded)
        writer.wait()
    return Filled(folder, manifest.count(missing), max(0.0, time.monotonic() - started))


def _begin_shards(
    vae: LatentVAE,
    manifest: Manifest,
    missing: Sequence[int],
    images: Iterator[Prepared],
    total: int,
    progress: Progress | None,
) -> Iterator[ShardEncoder]:
    """Yield each missing shard once the model has been given all its images."""
    done = total - manifest.count(missing)
    for shard in missing:
        encoder = ShardEncoder(vae, manifest, shard)
        for image in islice(images, manifest.count([shard])):
            encoder.add(image)
            done += 1
            if progress:
                progress("encoding", done, total)
        encoder.begin_rest()
        yield encoder
