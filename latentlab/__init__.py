"""latentlab: look into the latent space of pretrained latent-diffusion VAEs.

An image becomes a latent, a latent gets a neighborhood, a neighborhood gets directions, a
direction becomes pictures; every number stands beside what chance alone would give.

Names are imported when they are first used, so that ``import latentlab`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentlab.encoder import encode, reconstruct
    from latentlab.errors import LatentlabError
    from latentlab.images import read_picture
    from latentlab.latents import (
        Directions,
        Latent,
        LatentSpec,
        Neighborhood,
        Picture,
        Posterior,
        Spectrum,
    )
    from latentlab.loaders import LatentVAE, load_vae, register_family, wrap_vae
    from latentlab.neighborhoods import neighborhood, register_neighborhood
    from latentlab.pca import PCA, fit_pca, fit_pca_stream, fit_randomized_pca
    from latentlab.runs import load_pca
    from latentlab.traversal import Walk, traverse
    from latentlab.verdict import Judgement, judge

_HOMES = {
    "encoder": ("encode", "reconstruct"),
    "errors": ("LatentlabError",),
    "images": ("read_picture",),
    "latents": (
        "Directions",
        "Latent",
        "LatentSpec",
        "Neighborhood",
        "Picture",
        "Posterior",
        "Spectrum",
    ),
    "loaders": ("LatentVAE", "load_vae", "register_family", "wrap_vae"),
    "neighborhoods": ("neighborhood", "register_neighborhood"),
    "pca": ("PCA", "fit_pca", "fit_pca_stream", "fit_randomized_pca"),
    "runs": ("load_pca",),
    "traversal": ("Walk", "traverse"),
    "verdict": ("Judgement", "judge"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PCA",
    "Directions",
    "Judgement",
    "Latent",
    "LatentSpec",
    "LatentVAE",
    "LatentlabError",
    "Neighborhood",
    "Picture",
    "Posterior",
    "Spectrum",
    "Walk",
    "encode",
    "fit_pca",
    "fit_pca_stream",
    "fit_randomized_pca",
    "judge",
    "load_pca",
    "load_vae",
    "neighborhood",
    "read_picture",
    "reconstruct",
    "register_family",
    "register_neighborhood",
    "traverse",
    "wrap_vae",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'latentlab' has no attribute {name!r}")
    return getattr(import_module(f"latentlab.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
