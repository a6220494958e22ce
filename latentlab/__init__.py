"""latentlab: look into the latent space of pretrained latent-diffusion VAEs.

An image becomes a latent, a latent gets a neighborhood, a neighborhood gets directions, a
direction becomes pictures; every number stands beside what chance alone would give.

Names are imported when they are first used, so that ``import latentlab`` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentlab.chance.verdict import Judgement, judge
    from latentlab.components.pca import PCA, fit_pca, fit_randomized_pca
    from latentlab.components.stores import fit_store_pca
    from latentlab.components.streaming import StreamedPCA, fit_pca_rows, fit_pca_stream
    from latentlab.directions import find, register_finder
    from latentlab.directions.agreement import compare
    from latentlab.directions.correlations import held_out
    from latentlab.directions.labels import label, with_labels
    from latentlab.directions.transfer import Transfer, transfer
    from latentlab.encoding.encoder import encode, reconstruct
    from latentlab.encoding.tiles import Seams, tiled
    from latentlab.errors import LatentlabError
    from latentlab.images.reading import read_picture
    from latentlab.latents import (
        Directions,
        Latent,
        LatentSpec,
        Neighborhood,
        Picture,
        Posterior,
        Spectrum,
    )
    from latentlab.linalg.rows import RowStream
    from latentlab.loaders import LatentVAE, compile_vae, load_vae, register_family, wrap_vae
    from latentlab.neighborhoods import neighborhood, register_neighborhood
    from latentlab.results.folders import load_pca
    from latentlab.store.filling import fill_store
    from latentlab.store.opening import open_source
    from latentlab.store.reading import Store, open_store
    from latentlab.walks.interpolation import Interpolation, interpolate
    from latentlab.walks.traversal import Walk, traverse

# torch reads it with its first tensor and then asks for pages of 2 MB: Linux takes the memory of
# tensors above 32 MB back at once and maps it anew, page by page, a fifth of decoding 512 px.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_HOMES = {
    "directions": ("find", "register_finder"),
    "directions.agreement": ("compare",),
    "directions.correlations": ("held_out",),
    "directions.labels": ("label", "with_labels"),
    "encoding.encoder": ("encode", "reconstruct"),
    "errors": ("LatentlabError",),
    "images.reading": ("read_picture",),
    "walks.interpolation": ("Interpolation", "interpolate"),
    "latents": (
        "Directions",
        "Latent",
        "LatentSpec",
        "Neighborhood",
        "Picture",
        "Posterior",
        "Spectrum",
    ),
    "loaders": ("LatentVAE", "compile_vae", "load_vae", "register_family", "wrap_vae"),
    "neighborhoods": ("neighborhood", "register_neighborhood"),
    "components.pca": ("PCA", "fit_pca", "fit_randomized_pca"),
    "linalg.rows": ("RowStream",),
    "results.folders": ("load_pca",),
    "store.filling": ("fill_store",),
    "store.opening": ("open_source",),
    "store.reading": ("Store", "open_store"),
    "components.stores": ("fit_store_pca",),
    "components.streaming": ("StreamedPCA", "fit_pca_rows", "fit_pca_stream"),
    "encoding.tiles": ("Seams", "tiled"),
    "directions.transfer": ("Transfer", "transfer"),
    "walks.traversal": ("Walk", "traverse"),
    "chance.verdict": ("Judgement", "judge"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PCA",
    "Directions",
    "Interpolation",
    "Judgement",
    "Latent",
    "LatentSpec",
    "LatentVAE",
    "LatentlabError",
    "Neighborhood",
    "Picture",
    "Posterior",
    "RowStream",
    "Seams",
    "Spectrum",
    "Store",
    "StreamedPCA",
    "Transfer",
    "Walk",
    "compare",
    "compile_vae",
    "encode",
    "fill_store",
    "find",
    "fit_pca",
    "fit_pca_rows",
    "fit_pca_stream",
    "fit_randomized_pca",
    "fit_store_pca",
    "held_out",
    "interpolate",
    "judge",
    "label",
    "load_pca",
    "load_vae",
    "neighborhood",
    "open_source",
    "open_store",
    "read_picture",
    "reconstruct",
    "register_family",
    "register_finder",
    "register_neighborhood",
    "tiled",
    "transfer",
    "traverse",
    "with_labels",
    "wrap_vae",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'latentlab' has no attribute {name!r}")
    return getattr(import_module(f"latentlab.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
