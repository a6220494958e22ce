"""Directions drawn at random: what any other finder has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene, numbered
from latentlab.linalg.bases import random_rows


@FINDERS.register("random")
@dataclass(frozen=True)
class RandomDirections(Finder):
    """Orthonormal directions, uniform over the feature space. Strength is the variance along each.

    They have no order; the variance of a random direction is the total divided by D on average.
    Since samples hardly vary along any, walks take steps as long as one standard deviation along
    the first principal component.
    """

    statement = (
        "Directions drawn without looking at anything. They are the baseline: what they show, "
        "such as an image that changes a little everywhere, is no finding of another finder."
    )
    orthonormal = True

    def search(self, scene: Scene, k: int) -> Found:
        rows = random_rows(k, scene.n_features, scene.generator())
        return Found(rows, self.measure(scene, rows), numbered("random", k))

    def steps(self, scene: Scene, found: Found) -> tuple[Tensor, str]:
        """Return steps as long as a standard deviation along the first principal component."""
        deviation = scene.leading[1]
        return torch.full((len(found.rows),), deviation, dtype=torch.float64), "σ of PC 1"

    def limit(self, scene: Scene) -> tuple[int, str]:
        return scene.n_features, f"the features span {scene.n_features} dimensions"
