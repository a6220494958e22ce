"""Regression of the known factors on the latent: one direction for each factor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder, Found, Scene
from latentlab.directions.ridge import FOLDS, fit_ridge
from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Neighborhood
from latentlab.linalg.sums import combine_rows, gram_matrix
from latentlab.metrics.correlation import spearman
from latentlab.neighborhoods import sampler_of


@FINDERS.register("supervised")
@dataclass(frozen=True)
class Supervised(Finder):
    """Ridge regression of each known factor on the samples; its weights are the direction.

    Gains enter as logarithms. The penalty is chosen for each factor by 5-fold cross-validation.
    Directions point to where their factor grows. Strength is |Spearman| between a factor and
    what was predicted for samples left out of the fit; for other rows, the largest |Spearman|
    between their scores and any factor.
    """

    statement = (
        "For each known factor, the direction that predicts it best. It shows whether a factor "
        "can be read linearly; a direction that reads a factor well is not the one along which "
        "the factor changes, see `patterns`, and nothing is found that was not varied on purpose."
    )
    strength_name = "|Spearman| (with the factor, cross-validated)"
    usual_count = None
    cross_validated = True
    reads = True

    def search(self, scene: Scene, k: int) -> Found:
        if scene.n_samples < 2 * FOLDS:
            raise ShapeError(
                f"{scene.n_samples} samples for {FOLDS}-fold cross-validation",
                f"at least {2 * FOLDS}",
                "raise --samples, best to 256",
            )
        names, targets = standardized_factors(scene.neighborhood)
        mean, gram = gram_matrix(scene.neighborhood.samples)
        dual, predictions, _ = fit_ridge(gram, targets, generator=scene.generator())
        # A fit that predicts the opposite has found nothing.
        agreement = spearman(predictions, targets).diagonal().clamp_min(0)
        order = agreement.argsort(descending=True, stable=True)[:k]
        return Found(
            combine_rows(dual.T[order], scene.neighborhood.samples, mean),
            agreement[order],
            tuple(names[index] for index in order.tolist()),
        )

    def measure(self, scene: Scene, rows: Tensor) -> Tensor:
        _, targets = standardized_factors(scene.neighborhood)
        return spearman(scene.scores(rows), targets).abs().amax(1)

    def limit(self, scene: Scene) -> tuple[int, str]:
        count = len(standardized_factors(scene.neighborhood)[0])
        return count, f"{count} factors vary in this neighborhood"


def standardized_factors(hood: Neighborhood) -> tuple[tuple[str, ...], Tensor]:
    """Return names and values (n, m), float64, of the factors that vary, zero mean, unit variance.

    Raises
    ------
    UsageError : no factor is known, or none varies.
    """
    names, values = varying_factors(hood)
    return names, (values - values.mean(0)) / values.std(0)


def varying_factors(hood: Neighborhood) -> tuple[tuple[str, ...], Tensor]:
    """Return names and values (n, m), float64, of the factors that vary, gains as logarithms.

    They come in the order of the sampler, however those that were kept in a file are sorted.

    Raises
    ------
    UsageError : no factor is known, or none varies.
    """
    columns = {}
    amounts = sampler_of(hood).amounts
    known = [name for name in amounts if name in hood.factors]
    for name in dict.fromkeys((*known, *hood.factors)):
        values = hood.factors[name]
        gain = name in amounts and amounts[name].gain
        natural = values.double().log() if gain else values.double()
        if len(natural) > 1 and float(natural.std()) > 0:
            columns[name] = natural
    if not columns:
        raise UsageError(
            "a neighborhood without known factors that vary",
            "one with ground truth, such as augment or crops",
            "choose --neighborhood augment, or another --finder",
        )
    return tuple(columns), torch.stack(list(columns.values()), 1)
