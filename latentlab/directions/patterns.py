"""The pattern of each known factor: what it changes in the latent, others held fixed."""

from __future__ import annotations

from dataclasses import dataclass

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene
from latentlab.directions.ridge import fit_patterns
from latentlab.directions.supervised import Supervised, standardized_factors
from latentlab.errors import ShapeError
from latentlab.linalg.sums import combine_rows, gram_matrix


@FINDERS.register("patterns")
@dataclass(frozen=True)
class Patterns(Finder):
    """Regression of the samples on all known factors; its coefficients are the directions.

    ``supervised`` regresses the other way around: its weights read a factor, and look away from all
    that disturbs the reading, so that a step along them changes little. A pattern is what the
    samples change with a factor (Haufe et al. 2014). Gains enter as logarithms. Directions point
    to where their factor grows. Strength is the variance along each.
    """

    statement = (
        "For each known factor, the direction along which the samples change with it while the "
        "others stay. Walk along these; `supervised` has the weights that read a factor best. "
        "Nothing is found that was not varied on purpose."
    )
    usual_count = None

    def search(self, scene: Scene, k: int) -> Found:
        names, factors = standardized_factors(scene.neighborhood)
        if scene.n_samples < len(names) + 2:
            raise ShapeError(
                f"{scene.n_samples} samples for {len(names)} factors",
                f"at least {len(names) + 2}",
                "raise --samples, best to 256",
            )
        mean, gram = gram_matrix(scene.neighborhood.samples)
        weights, lengths = fit_patterns(gram, factors)
        order = lengths.argsort(descending=True, stable=True)[:k]
        rows = combine_rows(weights[order], scene.neighborhood.samples, mean)
        labels = tuple(names[index] for index in order.tolist())
        return Found(rows, self.measure(scene, rows), labels)

    def limit(self, scene: Scene) -> tuple[int, str]:
        return Supervised().limit(scene)
