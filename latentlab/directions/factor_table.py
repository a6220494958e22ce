"""How well each factor can be read off single directions, on held-out samples."""

from __future__ import annotations

from typing import Any

import torch

from latentlab.components.fitting import fit_pca
from latentlab.directions.correlations import scores_along
from latentlab.directions.supervised import standardized_factors
from latentlab.latents import Directions, Neighborhood
from latentlab.linalg.bases import random_rows
from latentlab.metrics.correlation import spearman

_CONTESTANTS = 64


def read_factors(
    directions: Directions, neighborhood: Neighborhood, fresh: Neighborhood, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Return |Spearman| of each factor with directions, with components and with random ones.

    Up to 64 components and an equal number of random directions compete. The best of them is
    chosen on the same held-out samples that it is reported for, which favors it.

    Parameters
    ----------
    directions : Directions found in the neighborhood
    neighborhood : Neighborhood that components are fitted to
    fresh : Neighborhood of held-out samples, see :func:`latentlab.neighborhoods.sampling.resample`
    seed : int, of the random directions

    Returns
    -------
    one JSON-ready dict a factor, with these keys:

    factor : str
    direction : str, the direction found for this factor, or else the best one
    found : float, |Spearman| of that direction
    pca : float, of the best single principal component
    component : int, which component that is, from 1
    random : float, of the best random direction
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
            {
                "factor": name,
                "direction": directions.labels[best],
                "found": float(found[best, column]),
                "pca": float(pca[:, column].max()),
                "component": int(pca[:, column].argmax()) + 1,
                "random": float(chance[:, column].max()),
            }
        )
    return table
