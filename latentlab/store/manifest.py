"""``store.json`` and ``pictures.jsonl``: what a store holds, fixed when it is begun."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.batches import batch_size
from latentlab.errors import FileError, ImageError, UsageError
from latentlab.files import open_durably
from latentlab.latents import LatentSpec, Progress
from latentlab.provenance import library_versions
from latentlab.store.lines import line_of, read_lines
from latentlab.store.preparing import Grid
from latentlab.store.sources import Entry, Source

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE

FORMAT = 1
MANIFEST = "store.json"
LIST = "pictures.jsonl"
PER_SHARD = 256
_USUAL_SIDE = 256  # of pictures that keep their size, to choose a batch by
STORED_DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True)
class Manifest:
    """What is the same for every picture of a store.

    Parameters
    ----------
    model : name, source, family, revision, sha256 and normalization of what encoded them
    spec : LatentSpec
    source : str, kind of source, such as ``"folder"``
    size : int, side of the square pictures in pixels, or None where each kept its own
    preprocessing : str, in words
    dtype : str, in which the model computed
    stored : str, in which the latents are stored
    per_shard, batch : int, pictures of a shard, and of one call of the model
    threads : int, of one process, on which the last digits depend; None where a GPU computes
    tile : int, side in pixels of the tiles that were encoded one by one; None without
    compiled : bool, whether torch compiled the model
    pictures : int, how many are listed, bad ones included
    list_sha256 : str, of ``pictures.jsonl``
    versions : library → version with which the store was begun
    """

    model: Mapping[str, Any]
    spec: LatentSpec
    source: str
    size: int | None
    preprocessing: str
    dtype: str
    stored: str
    per_shard: int
    batch: int
    threads: int | None
    tile: int | None = None
    compiled: bool = False
    pictures: int = 0
    list_sha256: str = ""
    versions: Mapping[str, str] | None = None

    @property
    def shards(self) -> int:
        """Return how many shards the pictures fill."""
        return -(-self.pictures // self.per_shard)

    def rows_of(self, shard: int) -> range:
        """Return the places in the list of the pictures of a shard."""
        return range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.pictures))


def plan(
    vae: LatentVAE,
    source: Source,
    *,
    size: int | None,
    stored: str,
    per_shard: int | None,
    batch: int | None,
    threads: int | None,
) -> Manifest:
    """Return the manifest of a store that is to be filled, its pictures not yet listed.

    Raises
    ------
    UsageError : an option that makes no sense.
    """
    grid = Grid.of(size, vae.spec.multiple)
    if stored not in STORED_DTYPES:
        raise UsageError(
            f"--store-dtype {stored}", " or ".join(STORED_DTYPES), "choose one of these"
        )
    chosen = {"--per-shard": per_shard, "--batch": batch, "--threads": threads}
    for name, number in chosen.items():
        if number is not None and number < 1:
            raise UsageError(f"{name} {number}", "at least 1", f"raise {name}")
    side = size or _USUAL_SIDE
    return Manifest(
        model={"name": vae.spec.name, **asdict(vae.origin)},
        spec=vae.spec,
        source=source.kind,
        size=size,
        preprocessing=grid.preprocessing,
        dtype=str(vae.dtype).removeprefix("torch."),
        stored=stored,
        per_shard=per_shard or PER_SHARD,
        batch=batch_size(vae, side, side) if batch is None else batch,
        threads=_threads(vae, threads),
        tile=vae.tiling["tile"] if vae.tiling else None,
        compiled=vae.is_compiled,
        versions=library_versions(),
    )


def _threads(vae: LatentVAE, threads: int | None) -> int | None:
    import torch

    if vae.device.type != "cpu":
        return None
    return torch.get_num_threads() if threads is None else threads


def read_manifest(folder: Path) -> Manifest:
    """Return what ``store.json`` says.

    Raises
    ------
    FileError : it is missing, damaged, or of another format.
    """
    path = folder / MANIFEST
    try:
        facts = json.loads(path.read_text(encoding="ascii"))
        if facts.pop("format") != FORMAT:
            raise ValueError("another format")
        return Manifest(**{**facts, "spec": LatentSpec(**facts["spec"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            f"{folder} without a {MANIFEST} that can be read ({error})",
            f"a store of format {FORMAT}",
            "name a folder that `latentlab encode` wrote",
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write ``store.json``, with which a store begins; return its path."""
    facts = {"format": FORMAT, **asdict(manifest)}
    with open_durably(folder / MANIFEST) as file:
        file.write(json.dumps(facts, indent=1, allow_nan=False).encode("ascii") + b"\n")
    return folder / MANIFEST


def begin(
    folder: Path, planned: Manifest, source: Source, progress: Progress | None = None
) -> Manifest:
    """List the pictures, write list and manifest into a new store; return the manifest.

    Raises
    ------
    ImageError : there is no picture.
    """
    digest, count = hashlib.sha256(), 0
    with open_durably(folder / LIST) as file:
        for count, entry in enumerate(source.entries(), 1):
            line = line_of(asdict(entry))
            digest.update(line)
            file.write(line)
            if progress and count % 1000 == 0:
                progress("listing", count, count)
        if count == 0:
            raise ImageError(
                "no picture in the source",
                "files such as .jpg, .png or .webp that are not hidden",
                "name the folder that holds the pictures",
            )
    manifest = replace(planned, pictures=count, list_sha256=digest.hexdigest())
    write_manifest(folder, manifest)
    return manifest


def check_same(folder: Path, begun: Manifest, planned: Manifest, free: Sequence[str] = ()) -> None:
    """Raise FileError where a store was begun with other choices than those planned.

    Parameters
    ----------
    free : names of options that nobody chose, which are then those of the store
    """
    planned = replace(planned, **{name: getattr(begun, name) for name in free})
    for name, had, wants in _differences(begun, planned):
        raise FileError(
            f"{name} {wants} for {folder}",
            f"{had}, with which the store was begun",
            "choose that, or another --out",
        )


def _differences(begun: Manifest, planned: Manifest) -> Iterator[tuple[str, Any, Any]]:
    for name in ("sha256", "family", "normalization"):
        if begun.model.get(name) != planned.model.get(name):
            yield f"another model ({name} differs):", begun.spec.name, planned.spec.name
    # The same weights may lie in a folder of another name.
    if replace(begun.spec, name="") != replace(planned.spec, name=""):
        yield "another model (latents differ):", begun.spec, planned.spec
    options = (
        "source",
        "size",
        "preprocessing",
        "dtype",
        "stored",
        "per_shard",
        "batch",
        "threads",
        "tile",
        "compiled",
    )
    for name in options:
        had, wants = getattr(begun, name), getattr(planned, name)
        if had != wants:
            yield f"{name}", had, wants


def check_list(folder: Path, begun: Manifest, source: Source) -> None:
    """Raise FileError where the source no longer has the pictures that the store lists."""
    pairs = itertools.zip_longest(listed_pictures(folder), source.entries())
    for number, (had, found) in enumerate(pairs, 1):
        if had != found:
            raise FileError(
                f"another list of pictures than that of {folder}: number {number} was "
                f"{_shown(had)} and is {_shown(found)}",
                f"the {begun.pictures:,} pictures with which the store was begun",
                "put them back as they were, or choose another --out",
            )


def _shown(entry: Entry | None) -> str:
    return f"{entry.path} ({entry.size:,} bytes)" if entry else "none"


def listed_pictures(folder: Path) -> Generator[Entry, None, None]:
    """Yield the pictures that a store lists, in their order."""
    for facts in read_lines(folder / LIST):
        yield Entry(str(facts["path"]), int(facts["size"]))
