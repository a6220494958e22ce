"""Walks and searches that start from whatever there is: latents, a store, a result, its folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from latentlab.components.fitting import fit_pca
from latentlab.components.pca import PCA
from latentlab.components.stores import store_neighborhood
from latentlab.directions.base import Finder
from latentlab.directions.finding import search_directions
from latentlab.encoding.recalling import with_image
from latentlab.errors import FileError, UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Progress, Sampling
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.given import are_latents, given_neighborhood
from latentlab.neighborhoods.sampling import draw_again
from latentlab.results.components import load_pca
from latentlab.results.directions import FACTS, load_directions
from latentlab.store.opening import is_store
from latentlab.store.reading import Store, open_store
from latentlab.walks.traversal import Traversal, walk_along

Opened: TypeAlias = Latent | Neighborhood | PCA | Directions | Store
Start: TypeAlias = Opened | Sequence[Latent] | Tensor | str | Path
"""A latent, samples, latents, a result or a store, or the folder of a result or a store."""

USUAL_DIRECTIONS = 5
_FILES = {"pca": "pca.json", "directions": FACTS}
"""Command → the file of its result that a walk or a search can start from."""


def traverse(
    vae: LatentVAE,
    latent: Start,
    directions: Start | None = None,
    *,
    n_components: int | None = None,
    span: float = 3.0,
    steps: int = 16,
    progress: Progress | None = None,
) -> Traversal:
    """Return the frames along the first directions, from −span to +span standard deviations.

    The latents are z + α σ_k v_k. σ_k is the neighborhood's standard deviation along direction k,
    so that spans are comparable between directions; some finders define ``steps`` instead. Latents
    are decoded in batches, and equal ones once: with an odd number of steps all directions share
    the center frame.

    Parameters
    ----------
    vae : LatentVAE
    latent : where the walk passes at α = 0: a Latent, (C, h, w) in model space; or a PCA,
        Directions, a Neighborhood, a Store, the folder of a saved result or of a store, or
        latents (N, C, h, w), whose own latent it is (the mean of a store and of latents)
    directions : PCA of a neighborhood, or Directions; or a Neighborhood, a Store or a folder as
        above. By default those of ``latent``.
    n_components : int, optional; how many directions. Default: 5, or all if there are fewer.
    span : float, above 0, in standard deviations
    steps : int, at least 2
    progress : called as ``progress("decoding", done, total)``

    Returns
    -------
    Traversal : frames (steps, H, W, 3), uint8, with scores

    Raises
    ------
    UsageError : a span or number of steps that makes no sense, or a Latent without directions.
    ShapeError : more directions than there are, or directions of another model or size.
    FileError : a folder without a store or result, or a damaged one.
    NonFiniteError, MemoryLimitError : as for :func:`latentlab.encode`.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> z = latentlab.encode(vae, "sample:flower", size=64)
    >>> pca = latentlab.fit_pca(latentlab.neighborhood(vae, z, n_samples=16))
    >>> traverse(vae, z, pca, n_components=2, steps=5).decodes  # the center frame is shared
    9
    >>> traverse(vae, pca, steps=3)
    Traversal(flower · linear · 64×64 px, PCA of ...: 5 directions × 3 steps)
    """
    begun = open_start(latent, vae)
    own = begun if directions is None else open_start(directions, vae)
    found = _directions_of(own)
    origin = found.sampling.known_origin() if own is begun else _latent_of(begun)
    _warn_of_other_weights(vae, origin, found.sampling.origin)
    count = usual_count(found) if n_components is None else n_components
    how: dict[str, Any] = {"n_components": count, "span": span, "steps": steps}
    return walk_along(vae, origin, found, progress=progress, **how)


def find_directions(
    vae: LatentVAE,
    latent: Start,
    neighborhood: Start | None = None,
    n_components: int | None = None,
    *,
    finder: str | Finder = "pca",
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Directions:
    """Return directions around a latent, with their strengths and that of random directions.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent, (C, h, w) in model space; or a Neighborhood, a PCA, Directions, a Store, the
        folder of a saved result or of a store, or latents (N, C, h, w), whose own latent it is (the
        mean of a store and of latents)
    neighborhood : Neighborhood of the latent; its features are the space that is searched, and
        its standard deviations the steps of walks. Of a store, its latents; of a result, samples
        drawn as it was sampled. By default those of ``latent``.
    n_components : int, optional; number of directions. Default: 8, or all if there are fewer.
    finder : str, a registered finder: pca, jacobian, ica, sparse-pca, supervised, patterns,
        difference, random; or a Finder
    seed : int
    progress : called as ``progress(what, done, total)``
    **options : the finder's own, such as ``other="B.jpg"``

    Returns
    -------
    Directions : vectors (k, C, h, w) of unit length; strengths in the unit of ``strength_name``

    Raises
    ------
    UsageError : unknown finder or option, a neighborhood that the finder cannot use, or a result
        whose samples cannot be drawn again.
    ShapeError : more directions than there can be, or a neighborhood of another shape.
    FileError : a folder without a store or result, or a damaged one; or the image that the samples
        of a result need has changed or is gone.
    NonFiniteError : NaN or infinity in the samples or in what the model returns.

    Examples
    --------
    >>> from latentlab import encode, load_vae, neighborhood
    >>> vae = load_vae("linear")
    >>> z = encode(vae, "sample:flower", size=64)
    >>> found = find_directions(vae, z, neighborhood(vae, z, "tokens"), n_components=2)
    >>> found, bool(found.strengths[0] > 3 * found.baseline_strength)
    (Directions(2 by pca: PC 1, PC 2), True)
    """
    begun = open_start(latent, vae)
    around = begun if neighborhood is None else open_start(neighborhood, vae)
    at = None if around is begun else _latent_of(begun)
    hood = samples_of(vae, around, at, progress=progress)
    return search_directions(
        vae,
        at or hood.origin,
        hood,
        n_components,
        finder=finder,
        seed=seed,
        progress=progress,
        **options,
    )


def is_start(given: Any) -> bool:
    """Return whether something has samples or directions, or is the folder of such."""
    if isinstance(given, str | Path):
        return is_store(given) or any((Path(given) / file).is_file() for file in _FILES.values())
    return isinstance(given, Neighborhood | PCA | Directions | Store)


def open_start(start: Any, vae: LatentVAE) -> Opened:
    """Return what a folder holds, and latents as a neighborhood; anything else as it is.

    Raises
    ------
    FileError : a folder without a store or result, or a damaged one.
    UsageError : something that no walk or search can start from.
    """
    if isinstance(start, str | Path):
        return open_store(start) if is_store(start) else load_found(Path(start))
    if are_latents(start):
        return given_neighborhood(start, vae)
    if not isinstance(start, Latent | Neighborhood | PCA | Directions | Store):
        raise UsageError(
            f"a {type(start).__name__}",
            "a Latent, Neighborhood, PCA, Directions or Store, or the folder of a run or store",
            "pass what a function of latentlab returned",
        )
    return start


def command_of(folder: Path) -> str:
    """Return ``"pca"`` or ``"directions"``, whose result a folder holds; FileError without one."""
    command = next((key for key, name in _FILES.items() if (folder / name).is_file()), None)
    if command is None:
        raise FileError(
            f"--run {folder}",
            f"a folder with a {' or '.join(_FILES.values())}",
            "pass a folder that `latentlab pca` or `latentlab directions` wrote",
        )
    return command


def load_found(folder: Path) -> PCA | Directions:
    """Return the PCA or the directions in a folder; FileError without them."""
    return load_pca(folder) if command_of(folder) == "pca" else load_directions(folder)


def usual_count(found: PCA | Directions) -> int:
    """Return how many directions are walked along by default: 5, or all if there are fewer."""
    rows = found.components if isinstance(found, PCA) else found.vectors
    return min(USUAL_DIRECTIONS, len(rows))


def samples_of(
    vae: LatentVAE,
    opened: Opened,
    latent: Latent | None = None,
    *,
    progress: Progress | None = None,
) -> Neighborhood:
    """Return the samples that a search looks at, drawn again for a result.

    Parameters
    ----------
    vae : LatentVAE
    opened : as :func:`open_start` returns it
    latent : Latent to sample around, optional; by default the result's own
    progress : called as ``progress(what, done, total)``

    Raises
    ------
    UsageError : a Latent alone, or a result whose samples cannot be drawn again.
    FileError : the store or the image of a result has changed or is gone.
    """
    if isinstance(opened, Neighborhood):
        return opened
    if isinstance(opened, Store):
        return store_neighborhood(opened, progress=progress)
    if isinstance(opened, Latent):
        raise UsageError(
            "a latent without samples around it",
            "a neighborhood",
            "pass latentlab.neighborhood(vae, z) beside the latent z",
        )
    sampling, origin = opened.sampling, opened.sampling.known_origin()
    _warn_of_other_weights(vae, latent, origin)
    if store := _store_of(sampling):
        parts = "tokens" if sampling.name == "tokens" else "whole"
        return store_neighborhood(store, parts, progress=progress)
    if sampling.name not in SAMPLERS:
        raise UsageError(
            f"the result of {sampling.label or sampling.name}, which does not keep them",
            "samples that can be drawn again",
            "pass the samples themselves instead",
        )
    around = latent or origin
    if SAMPLERS[sampling.name].encodes:
        around = with_image(around)
    how: dict[str, Any] = {"n_samples": sampling.n_samples, "seed": sampling.seed}
    return draw_again(vae, sampling, around, progress=progress, **how)


def _store_of(sampling: Sampling) -> Store | None:
    """Return the store whose latents were sampled; None for other samples."""
    record = sampling.known_origin().record.get("input") or {}
    if "store" not in record:
        return None
    store = open_store(record["store"])
    if store.manifest.list_sha256 != record.get("list_sha256"):
        raise FileError(
            f"{store.folder}, which holds other images than when it was analyzed",
            "the same store",
            "pass a store, or analyze this one again",
        )
    return store


def _directions_of(opened: Opened) -> PCA | Directions:
    """Return what a walk goes along: that of a result, or the components of samples."""
    if isinstance(opened, Latent):
        raise UsageError(
            "a latent without directions",
            "directions to walk along",
            "pass a PCA or Directions beside the latent",
        )
    return fit_pca(opened) if isinstance(opened, Store | Neighborhood) else opened


def _latent_of(opened: Opened) -> Latent:
    if isinstance(opened, Latent):
        return opened
    if isinstance(opened, Store):
        return fit_pca(opened, 1).center
    return opened.origin if isinstance(opened, Neighborhood) else opened.sampling.known_origin()


def _warn_of_other_weights(vae: LatentVAE, *latents: Latent | None) -> None:
    """Warn if latents come from other weights than the model's, as far as both are known."""
    own = dict(vae.origin.sha256)
    for latent in latents:
        theirs = latent.record.get("model", {}).get("sha256") if latent else None
        if latent and own and theirs and own != dict(theirs):
            warnings.warn(
                f"{vae.spec.name} has other weights than the model of {latent.name}: latents and "
                "directions of one model mean something else in another",
                stacklevel=3,
            )
            return
