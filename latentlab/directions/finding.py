"""Directions by the name of a finder, with their strengths and those of random directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Scene
from latentlab.directions.grain import note_on_grain
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Progress
from latentlab.linalg.bases import random_rows
from latentlab.loaders.base import LatentVAE

BASELINE_DIRECTIONS = 16
# The baseline must not be what the finder `random` draws from the same seed.
_BASELINE_SEED = 7_368_787


def search_directions(
    vae: LatentVAE,
    latent: Latent,
    neighborhood: Neighborhood,
    n_components: int | None = None,
    *,
    finder: str | Finder = "pca",
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Directions:
    """Return directions around a latent; everything as for :func:`latentlab.find_directions`.

    That function finds the latent and the neighborhood of stores, results and folders, too.
    """
    chosen = finder if isinstance(finder, Finder) else FINDERS.make(finder, options)
    _check_fit(latent, neighborhood)
    scene = Scene(vae, latent, neighborhood, seed, progress)
    found = chosen.search(scene, _count(chosen, scene, n_components))
    directions = directions_from_rows(scene, found.rows, found.labels)
    grain = note_on_grain(directions.vectors, neighborhood.layout.window, found.labels)
    steps, unit = chosen.steps(scene, found) or (None, "σ")
    return replace(
        directions,
        finder=chosen.name,
        basis=f"{chosen.name} {directions.basis}",
        strengths=found.strengths,
        strength_name=chosen.strength_name,
        baseline_strength=chosen.baseline(scene, baseline_rows(scene)),
        residuals=found.residuals,
        matvecs=found.matvecs,
        notes=(*found.notes, *grain),
        steps=steps,
        step_unit=unit,
    )


def baseline_rows(scene: Scene) -> Tensor:
    """Return the random directions (16, or D if fewer; n_features) of the baseline."""
    generator = torch.Generator().manual_seed((scene.seed + _BASELINE_SEED) % 2**63)
    return random_rows(min(BASELINE_DIRECTIONS, scene.n_features), scene.n_features, generator)


def directions_from_rows(scene: Scene, rows: Tensor, labels: tuple[str, ...]) -> Directions:
    """Return unit rows (k, n_features) as directions with the scene's standard deviations."""
    variances = scene.variances(rows)
    layout = scene.neighborhood.layout
    return Directions(
        vectors=torch.stack([layout.lift(row) for row in rows]),
        deviations=variances.sqrt(),
        shares=variances / scene.moments[1],
        labels=labels,
        finder="rows",
        basis=f"directions in the {scene.neighborhood.description}",
        rows=rows,
        sampling=scene.neighborhood.sampling,
    )


def _count(finder: Finder, scene: Scene, k: int | None) -> int:
    most, reason = finder.limit(scene)
    if k is None:
        return min(finder.usual_count or most, most)
    if not isinstance(k, int) or not 1 <= k <= most:
        raise ShapeError(
            f"{k} directions asked of {finder.name!r}",
            f"1 to {most}, since {reason}",
            "lower --components, or choose another finder or more samples",
        )
    return k


def _check_fit(latent: Latent, neighborhood: Neighborhood) -> None:
    if tuple(latent.values.shape) != neighborhood.layout.shape:
        raise ShapeError(
            f"a neighborhood of latents of shape {neighborhood.layout.shape}",
            f"{tuple(latent.values.shape)} like the latent",
            "sample the neighborhood around this latent",
        )
    if neighborhood.n_samples < 2:
        raise UsageError(
            f"{neighborhood.n_samples} samples",
            "at least 2, since one has no variance",
            "raise the number of samples",
        )
