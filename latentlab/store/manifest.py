"""``store.json``: the settings of a store, fixed when the store is begun."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from latentlab.encoding.batches import batch_size
from latentlab.encoding.sizes import longest_side
from latentlab.errors import FileError, LatentlabError, UsageError
from latentlab.images.fit import AUTO, NATIVE, Fit, fit_of
from latentlab.latents import LatentSpec
from latentlab.loaders.base import LatentVAE
from latentlab.machine.files import open_durably
from latentlab.machine.parsing import WRONG_FACTS, parse_json
from latentlab.machine.versions import library_versions
from latentlab.store.opening import MANIFEST
from latentlab.store.preparing import describe_preparing
from latentlab.store.sources import Source

FORMAT = 1
PER_SHARD = 256
STORED_DTYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
"""Dtype that latents can be stored in → its name in safetensors."""
_COMPUTED_DTYPES = (*STORED_DTYPES, "float64")
_USUAL_SIDE = 256
"""Side in pixels for which the batch is chosen when images keep their own size."""
_MOST = {
    **dict.fromkeys(("per_shard", "batch", "size", "tile", "longest"), 2**31),
    "threads": 1024,
    "pictures": sys.maxsize,
}
"""Setting → its largest value; the smallest is 1."""


@dataclass(frozen=True)
class Manifest:
    """The settings that all images of a store share.

    Parameters
    ----------
    model : name, source, family, revision, sha256 and normalization of the encoder
    spec : LatentSpec
    source : str, kind of source, such as ``"folder"``
    size : int, side of the square images in pixels, or None if each kept its own shape
    preprocessing : str, in words
    dtype : str, precision of the model's computations
    stored : str, dtype of the stored latents
    per_shard, batch : int, images in one shard, and in one call of the model
    threads : int, CPU threads of one process, which change the last digits; None on a GPU
    tile : int, side in pixels of the tiles that were encoded one by one; None without tiles
    compiled : bool, whether the model was compiled by torch
    pictures : int, length of the list, including images that were skipped
    list_sha256 : str, of ``pictures.jsonl``
    versions : library → version when the store was begun
    longest : int, longest side in pixels that images were shrunk to, or None if they were not
    space : str, ``"model"``; of imported latents also ``"raw"``, or ``"unstated"``
    layouts : how imported latents lay in their files
    left_out : kind → number of the files in the source that are no images, and of links that were
        not followed
    removed : names of the leftovers of killed imports that were removed when it was written
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
    longest: int | None = None
    space: str = "model"
    layouts: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    @property
    def shards(self) -> int:
        """Return how many shards the images fill."""
        return -(-self.pictures // self.per_shard)

    @property
    def fit(self) -> Fit:
        """Return how images come onto the model's grid."""
        shape = None if self.size is None else (self.size, self.size)
        return Fit(self.spec.multiple, shape, self.longest)

    def count(self, shards: Iterable[int]) -> int:
        """Return how many images of the list belong to some shards."""
        return sum(min(self.per_shard, self.pictures - shard * self.per_shard) for shard in shards)


def plan(
    vae: LatentVAE, source: Source, size: int | str, stored: str, counts: Mapping[str, int | None]
) -> Manifest:
    """Return the manifest of a store to be filled, without its list of images.

    Parameters
    ----------
    vae : LatentVAE
    source : Source
    size : int, side of the square images in pixels; ``"native"`` keeps the size of each, and
        ``"auto"`` shrinks those that are larger than :func:`longest_side`
    stored : str, dtype of the stored latents
    counts : ``per_shard``, ``batch`` and ``threads``; None is replaced by a default

    Raises
    ------
    UsageError : an option with an invalid value.
    """
    fit = fit_of(size, vae.spec.multiple, longest_side(vae))
    check_options(stored=stored, **counts)
    if fit.shape and fit.shape[0] != fit.shape[1]:
        height, width = fit.shape
        raise UsageError(
            f"--size {width}x{height} for a store", "the side of a square", f"write --size {width}"
        )
    side = fit.shape[0] if fit.shape else _USUAL_SIDE
    on_cpu = vae.device.type == "cpu"
    return Manifest(
        model={"name": vae.spec.name, **asdict(vae.origin)},
        spec=vae.spec,
        source=source.kind,
        size=fit.shape[0] if fit.shape else None,
        preprocessing=describe_preparing(fit),
        dtype=str(vae.dtype).removeprefix("torch."),
        stored=stored,
        per_shard=counts["per_shard"] or PER_SHARD,
        batch=counts["batch"] or batch_size(vae, side, side),
        threads=(counts["threads"] or torch.get_num_threads()) if on_cpu else None,
        tile=vae.tiling["tile"] if vae.tiling else None,
        compiled=vae.is_compiled,
        versions=library_versions(),
        longest=fit.longest,
    )


def check_options(*, stored: str, **counts: int | None) -> None:
    """Raise UsageError for options that are invalid for every model.

    Parameters
    ----------
    stored : str, dtype of the latents in the store
    counts : ``per_shard``, ``batch`` and ``threads``; None means that a default is used
    """
    if stored not in STORED_DTYPES:
        raise UsageError(
            f"--store-dtype {stored}", " or ".join(STORED_DTYPES), "choose one of these"
        )
    for name, count in counts.items():
        if count is not None and not 1 <= count <= _MOST[name]:
            option = f"--{name.replace('_', '-')}"
            advice = f"{'raise' if count < 1 else 'lower'} {option}"
            raise UsageError(f"{option} {count}", f"a number from 1 to {_MOST[name]:,}", advice)


def read_manifest(folder: Path) -> Manifest:
    """Return the content of ``store.json``.

    Raises
    ------
    FileError : it is missing, damaged, or in another format.
    """
    path = folder / MANIFEST
    try:
        facts = parse_json(path.read_text(encoding="ascii"))
        if facts.pop("format") != FORMAT:
            raise ValueError("another format")
        names = {name: tuple(map(str, facts.get(name, ()))) for name in ("layouts", "removed")}
        spec = LatentSpec(**facts["spec"])
        manifest = Manifest(**{**facts, "spec": spec, **names})
        _check(manifest)
    except (OSError, LatentlabError, *WRONG_FACTS) as error:
        got = f"{path}, which cannot be used ({error})"
        if isinstance(error, FileNotFoundError):
            got = f"no {path}" if folder.exists() else f"{folder}, which does not exist"
        advice = "name a folder that `latentlab encode` wrote"
        raise FileError(got, f"a store of format {FORMAT}", advice) from error
    return manifest


def _check(manifest: Manifest) -> None:
    """Raise ValueError for values that no written manifest has."""
    for name, most in _MOST.items():
        number = getattr(manifest, name)
        is_absent = number is None and name in ("size", "tile", "threads", "longest")
        if not is_absent and (type(number) is not int or not 1 <= number <= most):
            raise ValueError(f"{name} {number!r}")
    texts = (manifest.source, manifest.preprocessing, manifest.list_sha256, manifest.dtype)
    named = [manifest.model.get(name) for name in ("name", "family", "normalization")]
    if not all(isinstance(text, str) for text in (*texts, manifest.space, *named)):
        raise ValueError("values that are not text")
    if not all(type(count) is int for count in manifest.left_out.values()):
        raise ValueError(f"left_out {manifest.left_out!r}")
    if manifest.stored not in STORED_DTYPES or manifest.dtype not in _COMPUTED_DTYPES:
        raise ValueError(f"dtype {manifest.dtype!r}, stored {manifest.stored!r}")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``store.json``; from then on the store has begun."""
    facts = {"format": FORMAT, **asdict(manifest)}
    with open_durably(folder / MANIFEST) as file:
        file.write(json.dumps(facts, indent=1, allow_nan=False).encode("ascii") + b"\n")


def read_same(
    folder: Path, planned: Manifest, counts: Mapping[str, int | None], size: int | str = NATIVE
) -> Manifest:
    """Return the manifest of a store that was begun with the planned settings.

    Parameters
    ----------
    folder : of the store
    planned : Manifest
    counts : as for :func:`plan`; for those that are None the store's own settings are kept
    size : as for :func:`plan`; with ``"auto"`` the store's own longest side is kept

    Raises
    ------
    FileError : as for :func:`read_manifest`, or the store was begun with other settings.
    """
    begun = read_manifest(folder)
    free = {name: getattr(begun, name) for name, count in counts.items() if count is None}
    if size == AUTO and begun.size is None:
        # Another device would choose another longest side.
        free |= {"longest": begun.longest, "preprocessing": begun.preprocessing}
    if begun.preprocessing.replace("centre crop", "center crop") == planned.preprocessing:
        free["preprocessing"] = begun.preprocessing  # as earlier versions spelled it
    planned = replace(planned, **free)
    for name, had, wanted in _differences(begun, planned):
        raise FileError(
            f"{name} {wanted} for {folder}",
            f"{had}, with which the store was begun",
            "use that, or choose another --out",
        )
    return begun


def _differences(begun: Manifest, planned: Manifest) -> Iterator[tuple[str, Any, Any]]:
    for name in ("sha256", "family", "normalization"):
        if begun.model.get(name) != planned.model.get(name):
            yield f"another model ({name} differs):", begun.spec.name, planned.spec.name
    # The same weights may be in a folder with another name.
    if replace(begun.spec, name="") != replace(planned.spec, name=""):
        yield "another model (latents differ):", begun.spec, planned.spec
    later = {"pictures", "list_sha256", "versions", "left_out"}
    for name, had in vars(begun).items():
        wanted = getattr(planned, name)
        if name not in {"model", "spec", *later} and had != wanted:
            yield name.replace("stored", "store_dtype"), had, wanted
