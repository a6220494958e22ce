"""Points of many dimensions in a plane, so that those that are near stay near: t-SNE and UMAP."""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMBEDDINGS = {"tsne": 3_000, "umap": 10_000}
"""Method → the most points that it places in about half a minute on two cores."""
PERPLEXITY = 30
UMAP_NEIGHBORS = 15
FEWEST = 5
"""Points; fewer have no neighborhoods to keep."""


def check_embedding(method: str) -> None:
    """Raise what stands against a method.

    Raises
    ------
    UsageError : an unknown method.
    MissingExtraError : ``"umap"`` without umap-learn.
    """
    if method not in EMBEDDINGS:
        raise UsageError(f"the embedding {method!r}", "tsne or umap", "choose one of them")
    if method == "umap" and find_spec("umap") is None:
        raise MissingExtraError(
            "a map by UMAP without umap-learn",
            "the extra for it",
            "run pip install 'latentlab[umap]', or choose tsne",
        )


def embed(points: NDArray[np.float64], method: str, seed: int = 0) -> NDArray[np.float64]:
    """Return a place (n, 2) in a plane for each point (n, d), centered.

    The same points and the same seed give the same places on the same machine.

    Parameters
    ----------
    points : array, (n, d), n at least 5
    method : ``"tsne"`` (van der Maaten and Hinton 2008; perplexity 30, or a third of the points)
        or ``"umap"`` (McInnes, Healy and Melville 2018; 15 neighbors, or half
        of the points)
    seed : int

    Raises
    ------
    UsageError : an unknown method, or fewer points.
    MissingExtraError : ``"umap"`` without umap-learn.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> two = np.concatenate([rng.normal(size=(20, 3)), 50 + rng.normal(size=(20, 3))])
    >>> places = embed(two, "tsne")
    >>> places.shape, bool((places[:20] - places[:20].mean(0)).std() < places.std())
    ((40, 2), True)
    """
    check_embedding(method)
    if len(points) < FEWEST:
        raise UsageError(f"{len(points)} points", f"{FEWEST} or more", "use their components")
    estimator = _tsne(len(points), seed) if method == "tsne" else _umap(len(points), seed)
    places: NDArray[np.float64] = np.asarray(estimator.fit_transform(points), np.float64)
    centered: NDArray[np.float64] = places - places.mean(0)
    return centered


def perplexity_of(count: int) -> float:
    """Return the perplexity for so many points."""
    return min(PERPLEXITY, (count - 1) / 3)


def neighbors_of(count: int) -> int:
    """Return how many neighbors UMAP keeps of so many points."""
    return min(UMAP_NEIGHBORS, math.ceil(count / 2))


def _tsne(count: int, seed: int) -> Any:
    from sklearn.manifold import TSNE

    return TSNE(
        perplexity=perplexity_of(count),
        init="pca",
        learning_rate="auto",
        method="barnes_hut" if count > 3 * PERPLEXITY else "exact",
        random_state=seed % 2**32,
    )


def _umap(count: int, seed: int) -> Any:
    umap: Any = import_module("umap")
    return umap.UMAP(n_neighbors=neighbors_of(count), random_state=seed % 2**32, n_jobs=1)
