"""Disentanglement of a VAE's latents through factors that are known, because they were drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlab.components.fitting import fit_pca
from latentlab.encoding.batches import batch_size
from latentlab.encoding.encoder import describe_latent, describe_model, encode, encode_each
from latentlab.errors import UsageError
from latentlab.images.arrays import from_uint8
from latentlab.images.sprites import FACTORS, draw_factors, draw_sprites
from latentlab.latents import Progress
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.tiles import describe_tiles
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.recipes.codes import check_scores, measure_codes
from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved, create_run

SPRITES = "sprites"
"""The subject that stands for sprites with five factors."""
COUNTS = {SPRITES: 1500, "augment": 600}
SIDES = {SPRITES: 64, "augment": 128}
COMPONENTS = 10
REDUCTIONS = ("components", "channels")


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of images whose factors are known.

    Parameters
    ----------
    values : Tensor, (n, C, h, w), model space
    factors : array (n, K)
    names : of the factors
    inputs : describes the images, JSON-ready
    """

    values: Tensor
    factors: np.ndarray
    names: tuple[str, ...]
    inputs: dict[str, Any]


def sprite_latents(
    vae: LatentVAE, count: int, *, side: int, seed: int, progress: Progress | None = None
) -> Latents:
    """Return the latents of sprites with their shape, scale, orientation, x and y."""
    factors = draw_factors(count, seed=seed)
    together = batch_size(vae, side, side)

    def batches() -> Iterator[Tensor]:
        for begun in range(0, count, together):
            levels = draw_sprites(factors[begun : begun + together], side)
            if progress:
                progress("encoding sprites", min(begun + together, count), count)
            yield from_uint8(torch.from_numpy(levels)).contiguous()

    values = torch.cat([*encode_each(vae, batches())])
    return Latents(values, factors, FACTORS, {"name": SPRITES, "side": side})


def augmented_latents(
    vae: LatentVAE,
    image: Any,
    count: int,
    *,
    side: int,
    seed: int,
    progress: Progress | None = None,
) -> Latents:
    """Return the latents of changed copies of an image with how each was changed."""
    latent = encode(vae, image, size=side)
    hood = neighborhood(vae, latent, "augment", n_samples=count, seed=seed, progress=progress)
    values = hood.samples.view(count, *latent.values.shape)
    columns = [one.double().numpy() for one in hood.factors.values()]
    return Latents(values, np.stack(columns, 1), tuple(hood.factors), describe_latent(latent))


def reduce_latents(latents: Tensor, how: str = "components") -> tuple[Tensor, str]:
    """Return codes (n, k) of latents (n, C, h, w), and in words what they are.

    Parameters
    ----------
    latents : Tensor
    how : ``"components"``, the scores of the ten leading principal components, or ``"channels"``,
        the mean of each channel

    Raises
    ------
    UsageError : another way.

    Examples
    --------
    >>> codes, words = reduce_latents(torch.ones(4, 3, 2, 2), "channels")
    >>> codes.shape, words
    (torch.Size([4, 3]), 'means of the 3 channels')
    """
    _check_reduction(how)
    if how == "channels":
        return latents.double().mean((2, 3)), f"means of the {latents.shape[1]} channels"
    rows = latents.flatten(1)
    pca = fit_pca(rows, n_components=min(COMPONENTS, len(rows) - 1, rows.shape[1]))
    share = float(pca.explained_variance_ratio.sum())
    words = f"{len(pca.components)} leading components, {100 * share:.0f} % of the variance"
    return pca.transform(rows).double(), words


def _check_reduction(how: str) -> None:
    if how not in REDUCTIONS:
        choices = " or ".join(REDUCTIONS)
        raise UsageError(f"codes {how!r}", choices, "choose one of them")


def _check_side(side: int, vae: LatentVAE) -> None:
    multiple = vae.spec.multiple
    if side <= 0 or side % multiple:
        raise UsageError(
            f"sprites of {side} pixels",
            f"a multiple of {multiple} for {vae.spec.name}",
            f"pass size {max(1, round(side / multiple)) * multiple}",
        )


def measure_disentanglement(
    vae: LatentVAE,
    subject: Any = SPRITES,
    *,
    codes: str = "components",
    only: Sequence[str] = (),
    n_samples: int = 0,
    size: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return disentanglement scores of a VAE's latents with intervals and controls, JSON-ready.

    Parameters
    ----------
    vae : LatentVAE
    subject : ``"sprites"``, whose factors are shape, scale, orientation, x and y; or an image,
        whose factors are those of the neighborhood ``augment``
    codes : ``"components"`` or ``"channels"``; see :func:`reduce_latents`
    only : names of scores; by default all
    n_samples : int; by default 1,500 sprites, or 600 copies of an image
    size : int, side of the images in pixels; by default 64 for sprites, and 128
    seed : int
    progress : called as ``progress(what, done, total)``

    Returns
    -------
    dict : as :func:`latentlab.recipes.codes.measure_codes` returns it

    Raises
    ------
    UsageError : an unknown reduction or score, or a size that the model does not take.
    TooFewError : fewer than 100 samples.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> found = measure_disentanglement(vae, n_samples=120, size=32, only=["modularity"])
    >>> list(found["metrics"]), found["protocol"]["factors"]
    (['modularity'], ['shape', 'scale', 'orientation', 'x', 'y'])
    """
    kind = SPRITES if isinstance(subject, str) and subject == SPRITES else "augment"
    count = n_samples or COUNTS[kind]
    # Before anything is encoded, which takes minutes.
    _check_reduction(codes)
    check_scores(only, count)
    how: dict[str, Any] = {
        "side": size or vae.only_side or SIDES[kind],
        "seed": seed,
        "progress": progress,
    }
    if kind == SPRITES:
        _check_side(how["side"], vae)
        latents = sprite_latents(vae, count, **how)
    else:
        latents = augmented_latents(vae, subject, count, **how)
    reduced, words = reduce_latents(latents.values, codes)
    found = measure_codes(
        reduced.numpy(),
        latents.factors,
        only=only,
        seed=seed,
        name=vae.spec.name,
        progress=progress,
    )
    drawn = {"source": kind, "codes": words, "factors": list(latents.names)}
    protocol = {**found["protocol"], **drawn, "input": latents.inputs}
    return {**found, "protocol": protocol}


def analyze_disentanglement(
    vae: LatentVAE,
    subject: Any,
    *,
    folder: Path | None = None,
    command_line: list[str] | None = None,
    **how: Any,
) -> Saved:
    """Score a model's latents and save it; parameters as for :func:`measure_disentanglement`."""
    facts = measure_disentanglement(vae, subject, **how)
    protocol = facts["protocol"]
    run = {
        "command_line": command_line,
        "model": describe_model(vae),
        **describe_tiles(vae),
        "input": protocol["input"],
    }
    folder = folder or create_run(str(protocol["input"]["name"]), vae.spec.name)
    return write_result(folder, "metrics", files=[], arrays={}, facts=facts, run=run)
