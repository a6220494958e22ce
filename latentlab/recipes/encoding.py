"""From a folder of images to a store of latents, in the precision and tiles it was started with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.store.manifest import read_manifest
from latentlab.store.opening import MANIFEST
from latentlab.store.reading import Store, open_store

if TYPE_CHECKING:
    from latentlab.store.filling import Filled


_REASONS = 10


def loading_options(folder: Path, dtype: str, tile: int | None, compiled: bool) -> dict[str, Any]:
    """Return dtype, tile and compiled for :func:`latentlab.load_vae`, as the store was started.

    Another machine might choose another precision, which it must not when it resumes this store.

    Parameters
    ----------
    folder : of the store, which need not exist
    dtype, tile, compiled : as asked for; "auto" and None leave the choice to the store. A dtype
        that is still "auto" in the result is that of a new store.
    """
    if (folder / MANIFEST).exists():
        begun = read_manifest(folder)
        dtype = begun.dtype if dtype == "auto" else dtype
        tile, compiled = tile or begun.tile, compiled or begun.compiled
    return {"dtype": dtype, "tile": tile, "compiled": compiled}


def describe_filled(filled: Filled) -> dict[str, Any]:
    """Return what a finished store holds and what this run did, JSON-ready."""
    store = open_store(filled.folder)
    return {
        "store": str(filled.folder),
        "pictures": len(store),
        "skipped": store.skipped,
        "skipped_because": dict(_reasons(store).most_common(_REASONS)),
        "left_out": dict(store.manifest.left_out),
        "shards": store.manifest.shards,
        "bytes": store.bytes,
        "bytes_per_latent": store.bytes / len(store) if len(store) else None,
        "latent_std": _deviation(store),
        "computed": filled.computed,
        "seconds": filled.seconds,
        "pictures_per_second": filled.images_per_second,
        "files": [str(path) for path in store.files()],
    }


def _reasons(store: Store) -> Counter[str]:
    """Return why images were skipped, without their names → number of images."""
    found: Counter[str] = Counter()
    for line in store.skips():
        why = line["skipped"]
        for name in (repr(line["path"]), line["path"]):
            why = why.removeprefix(name)
        found[why.lstrip(", ")] += 1
    return found


def _deviation(store: Store) -> float | None:
    """Return the standard deviation of the cells of at most 64 latents, from all over a store."""
    import torch

    some = store[:: -(-len(store) // 64) or 1]
    return float(torch.cat([one.values.flatten() for one in some]).std()) if some else None
