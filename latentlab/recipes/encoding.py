"""From a folder of images to a store of latents, in the precision and tiles it was begun with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.encoding.precision import for_data_set
from latentlab.store.manifest import MANIFEST, read_manifest
from latentlab.store.reading import open_store

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE
    from latentlab.store.filling import Filled


@dataclass(frozen=True)
class StoreModel:
    """How the model of a store must be loaded: as it was when the store was begun.

    Parameters
    ----------
    dtype : str, for :func:`latentlab.load_vae`
    tile : int, optional; side of the tiles in pixels
    compiled : bool
    is_new : bool, whether there is no store yet, so that the precision is still to be chosen
    """

    dtype: str
    tile: int | None
    compiled: bool
    is_new: bool

    def prepare(self, vae: LatentVAE) -> LatentVAE:
        """Return the VAE in the precision that suits a new store, or as it is."""
        return for_data_set(vae) if self.is_new and self.dtype == "auto" else vae


def model_for_store(folder: Path, dtype: str, tile: int | None, compiled: bool) -> StoreModel:
    """Return how to load the model of a store, which may have been begun.

    Another machine might choose another precision for itself, and must not where it resumes this
    store.

    Parameters
    ----------
    folder : of the store
    dtype, tile, compiled : what was asked for; "auto" and None leave it to the store
    """
    if not (folder / MANIFEST).exists():
        return StoreModel(dtype, tile, compiled, True)
    begun = read_manifest(folder)
    chosen = begun.dtype if dtype == "auto" else dtype
    return StoreModel(chosen, tile or begun.tile, compiled or begun.compiled, False)


def describe_filled(filled: Filled) -> dict[str, Any]:
    """Return what a finished store holds and what this run did, JSON-ready."""
    store = open_store(filled.folder)
    return {
        "store": str(filled.folder),
        "pictures": len(store),
        "skipped": store.skipped,
        "shards": store.manifest.shards,
        "bytes": store.bytes,
        "bytes_per_latent": store.bytes / len(store) if len(store) else None,
        "computed": filled.computed,
        "seconds": filled.seconds,
        "pictures_per_second": filled.images_per_second,
        "files": [str(path) for path in store.files()],
    }
