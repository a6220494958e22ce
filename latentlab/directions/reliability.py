"""Whether a direction is found again in the other half of the samples."""

from __future__ import annotations

from dataclasses import replace

import torch

from latentlab.directions.finding import search_directions
from latentlab.errors import LatentlabError
from latentlab.latents import Directions, Latent, Neighborhood
from latentlab.loaders.base import LatentVAE

_FEWEST = 8


def split_half_reliability(
    vae: LatentVAE,
    latent: Latent,
    neighborhood: Neighborhood,
    directions: Directions,
    finder: str = "pca",
    *,
    seed: int = 0,
) -> tuple[float, ...] | None:
    """Return, for each direction, how well both halves of the samples agree on it, from 0 to 1.

    The samples are divided at random into two halves, and the finder searches each. Of each half
    the direction nearest to the one in question is taken; the value is the absolute cosine between
    these two. Noise gives more than the √(2 / (π D)) of two random directions in D features, since
    the nearest of several are taken: .34 and not .20 for 64 samples in 16 features. Components of
    nearly the same variance are not found again one by one, even if all of them are real.

    None if directions do not come from the samples (their steps are not deviations), if there are
    fewer than eight samples, or if the finder cannot search half of them.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    neighborhood : Neighborhood that the directions were found in
    directions : Directions, with rows
    finder : str, what found them
    seed : int, of the division

    Examples
    --------
    >>> from latentlab import encode, find_directions, load_vae, neighborhood
    >>> vae = load_vae("linear")
    >>> z = encode(vae, "sample:flower", size=64)
    >>> hood = neighborhood(vae, z, "tokens")
    >>> found = find_directions(vae, z, hood, n_components=1)
    >>> split_half_reliability(vae, z, hood, found)[0] > 0.9
    True
    """
    count = neighborhood.n_samples
    if count < _FEWEST or directions.steps is not None or directions.rows is None:
        return None
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    halves = []
    for part in (order[: count // 2], order[count // 2 :]):
        chosen = part.sort().values
        factors = {name: value[chosen] for name, value in neighborhood.factors.items()}
        sampling = replace(neighborhood.sampling, factors=factors, n_samples=len(chosen))
        half = Neighborhood(neighborhood.samples[chosen], sampling)
        try:
            found = search_directions(vae, latent, half, finder=finder, seed=seed)
        except LatentlabError:
            return None
        assert found.rows is not None
        halves.append(found.rows.double())
    rows = directions.rows.double()
    nearest = [half[(rows @ half.T).abs().argmax(1)] for half in halves]
    cosines = (nearest[0] * nearest[1]).sum(1).abs()
    return tuple(min(1.0, float(cosine)) for cosine in cosines)
