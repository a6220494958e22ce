"""``store.json``: what a store holds, fixed when it is begun."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.batches import batch_size
from latentlab.errors import FileError, LatentlabError, UsageError
from latentlab.files import open_durably
from latentlab.latents import LatentSpec
from latentlab.provenance import library_versions
from latentlab.store.preparing import Grid
from latentlab.store.sources import Source

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE

FORMAT = 1
MANIFEST = "store.json"
PER_SHARD = 256
_USUAL_SIDE = 256  # of pictures that keep their size, to choose a batch by
MOST = 2**31
"""Pictures of a shard or batch at most."""
MOST_THREADS = 1024
STORED_DTYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
"""What latents are stored in → what safetensors calls it."""
COMPUTED_DTYPES = (*STORED_DTYPES, "float64")


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
    check_options(stored=stored, per_shard=per_shard, batch=batch, threads=threads)
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


def check_options(
    *, stored: str, per_shard: int | None, batch: int | None, threads: int | None
) -> None:
    """Raise UsageError where options make no sense whatever the model."""
    if stored not in STORED_DTYPES:
        raise UsageError(
            f"--store-dtype {stored}", " or ".join(STORED_DTYPES), "choose one of these"
        )
    chosen = {"--per-shard": per_shard, "--batch": batch, "--threads": threads}
    for name, number in chosen.items():
        most = MOST_THREADS if name == "--threads" else MOST
        if number is not None and not 1 <= number <= most:
            advice = f"{'raise' if number < 1 else 'lower'} {name}"
            raise UsageError(f"{name} {number}", f"1 to {most:,}", advice)


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
        manifest = Manifest(**{**facts, "spec": LatentSpec(**facts["spec"])})
        _check(manifest)
    except FileNotFoundError as error:
        what = f"{folder}, which does not exist" if not folder.exists() else f"no {path}"
        raise _no_store(what) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, LatentlabError) as error:
        raise _no_store(f"{path}, which cannot be used ({error})") from error
    return manifest


def _no_store(what: str) -> FileError:
    return FileError(
        what, f"a store of format {FORMAT}", "name a folder that `latentlab encode` wrote"
    )


def _check(manifest: Manifest) -> None:
    """Raise ValueError where a manifest that was read holds what none is written with."""
    limits = {
        "per_shard": MOST,
        "batch": MOST,
        "pictures": sys.maxsize,
        **({"threads": MOST_THREADS} if manifest.threads is not None else {}),
        **({"tile": MOST} if manifest.tile is not None else {}),
        **({"size": MOST} if manifest.size is not None else {}),
    }
    for name, most in limits.items():
        number = getattr(manifest, name)
        if type(number) is not int or not 1 <= number <= most:
            raise ValueError(f"{name} {number!r}")
    texts = ("source", "preprocessing", "list_sha256", "dtype")
    named = [manifest.model.get(name) for name in ("name", "family", "normalization")]
    if not all(isinstance(x, str) for x in (*(getattr(manifest, t) for t in texts), *named)):
        raise ValueError("numbers where names should be")
    if manifest.stored not in STORED_DTYPES or manifest.dtype not in COMPUTED_DTYPES:
        raise ValueError(f"dtype {manifest.dtype!r}, stored {manifest.stored!r}")


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write ``store.json``, with which a store begins; return its path."""
    facts = {"format": FORMAT, **asdict(manifest)}
    with open_durably(folder / MANIFEST) as file:
        file.write(json.dumps(facts, indent=1, allow_nan=False).encode("ascii") + b"\n")
    return folder / MANIFEST


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
