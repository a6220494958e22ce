"""Whether two finders find the same subspace, against two random subspaces."""

from __future__ import annotations

from typing import Any

import torch

from latentlab.errors import ShapeError, UsageError
from latentlab.latents import Directions
from latentlab.linalg.subspaces import (
    principal_angles,
    random_overlap,
    random_overlap_deviation,
    subspace_overlap,
)


def subspace_agreement(directions: Directions, other: Directions) -> dict[str, Any]:
    """Return how much the spans of two sets of directions overlap, as JSON-ready facts.

    Parameters
    ----------
    directions, other : Directions of one layout, each linearly independent; their rows, in the
        neighborhood's features, are compared

    Returns
    -------
    dict with these keys:

    finder : str, what found the other set
    dimensions : [k, m], how many directions each has
    overlap : float in [0, 1], mean squared cosine of the principal angles
    chance : float, mean overlap of random spans of these dimensions
    chance_deviation : float, the standard deviation of that overlap
    angles : principal angles in degrees, ascending
    cosines : k lists of m absolute cosines between single directions

    Raises
    ------
    ShapeError : directions in different features.
    UsageError : linearly dependent directions, or directions without rows.

    Examples
    --------
    >>> from latentlab import encode, find_directions, load_vae, neighborhood
    >>> vae = load_vae("linear")
    >>> z = encode(vae, "sample:flower", size=64)
    >>> hood = neighborhood(vae, z, "tokens")
    >>> few, more = (find_directions(vae, z, hood, n_components=k) for k in (2, 4))
    >>> same = subspace_agreement(few, more)
    >>> round(same["overlap"], 6), same["chance"]
    (1.0, 0.25)
    """
    a, b = directions.rows, other.rows
    if a is None or b is None:
        raise UsageError(
            "directions without rows",
            "directions that a finder found",
            "use latentlab.find_directions",
        )
    if a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"directions of {a.shape[1]} and {b.shape[1]} features",
            "directions of one layout",
            "find both in neighborhoods of the same kind and size",
        )
    k, m, dimensions = len(a), len(b), a.shape[1]
    return {
        "finder": other.finder,
        "dimensions": [k, m],
        "overlap": subspace_overlap(a, b),
        "chance": random_overlap(k, m, dimensions),
        "chance_deviation": random_overlap_deviation(k, m, dimensions),
        "angles": torch.rad2deg(principal_angles(a, b)).tolist(),
        "cosines": (a.double() @ b.double().T).abs().tolist(),
    }
