"""How well each factor can be read off single directions, on samples that nobody has fitted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from latentlab.components.fitting import fit_pca
from latentlab.directions.correlations import scores_along
from latentlab.directions.supervised import standardized_factors
from latentlab.latents import Directions, Neighborhood
from latentlab.linalg.bases import random_rows
from latentlab.metrics.correlation import spearman

_CONTESTANTS = 64


@dataclass(frozen=True)
class FactorRow:
    """One factor, and |Spearman| between it and the scores of held-out samples.

    Parameters
    ----------
    factor : str
    direction : str, the direction meant for it, or the best one
    found : float, of that direction
    pca : float, of the best single principal component
    component : int, which one, from 1
    random : float, of the best random direction, of as many as there were components
    """

    factor: str
    direction: str
    found: float
    pca: float
    component: int
    random: float

    def describe(self) -> dict[str, Any]:
        """Return the row as JSON-ready facts."""
        return asdict(self)


def read_factors(
    directions: Directions, neighborhood: Neighborhood, fresh: Neighborhood, *, seed: int = 0
) -> tuple[FactorRow, ...]:
    """Return a row for each factor: these directions, the best component, the best random one.

    Up to 64 components and as many random directions compete; the best of so many is chosen on
    the very samples that it is reported for, which favors them.

    Parameters
    ----------
    directions : Directions found in the neighborhood
    neighborhood : Neighborhood that components are fitted to
    fresh : Neighborhood of held-out samples, see :func:`latentlab.neighborhoods.sampling.resample`
    seed : int, of the random directions
    """
    names, values = standardized_factors(fresh)
    components = fit_pca(neighborhood).components[:_CONTESTANTS]
    generator = torch.Generator().manual_seed(seed)
    rows = random_rows(len(components), neighborhood.n_features, generator)
    found, pca, chance = (
        spearman(scores_along(contestants, fresh), values).abs()
        for contestants in (directions.rows, components, rows)
    )
    table = []
    for column, name in enumerate(names):
        own = name in directions.labels
        best = directions.labels.index(name) if own else int(found[:, column].argmax())
        table.append(
            FactorRow(
                factor=name,
                direction=directions.labels[best],
                found=float(found[best, column]),
                pca=float(pca[:, column].max()),
                component=int(pca[:, column].argmax()) + 1,
                random=float(chance[:, column].max()),
            )
        )
    return tuple(table)
