"""Whether a direction is found again in the other half of the samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentlab.directions import FINDERS
from latentlab.directions.base import Finder
from latentlab.directions.finding import search_directions
from latentlab.errors import LatentlabError
from latentlab.latents import Directions, Latent, Neighborhood
from latentlab.linalg.sums import column_moments, combine_rows
from latentlab.loaders.base import LatentVAE

_FEWEST = 8
_DRAWS = 32
_VALUES = 2**23  # of mixtures at a time, 64 MB in float64
_CHANCE_SEED = 4_021_199


@dataclass(frozen=True)
class Reliability:
    """How well each direction is found again in other samples, and what chance gives.

    Parameters
    ----------
    cosines : for each direction the absolute cosine of what both halves of the samples give
    chance : for each direction the mean of that cosine if each half gives random mixtures of its
        samples instead, as many as were searched
    """

    cosines: tuple[float, ...]
    chance: tuple[float, ...]


def split_half_reliability(
    vae: LatentVAE,
    latent: Latent,
    neighborhood: Neighborhood,
    directions: Directions,
    finder: str | Finder = "pca",
    *,
    seed: int = 0,
) -> Reliability | None:
    """Return, for each direction, how well both halves of the samples agree on it, from 0 to 1.

    The samples are divided at random into two halves, and the finder searches each. Of each half
    the direction nearest to the one in question is taken; the value is the absolute cosine between
    these two. Components of nearly the same variance are not found again one by one, even if all of
    them are real.

    Chance gives more than the √(2 / (π D)) of two random directions in D features: the nearest of
    several are taken, and whatever is made of samples leans to where these vary most. So the same
    is done 32 times with mixtures of the centered samples of each half, with random normal weights.
    They are orthonormal if the finder's directions are.

    None if directions do not come from the samples (their steps are not deviations, or both halves
    give the same), if there are fewer than eight samples, or if the finder cannot search half of
    them.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    neighborhood : Neighborhood that the directions were found in
    directions : Directions, with rows
    finder : str, or a Finder with its options; what found them
    seed : int, of the division

    Examples
    --------
    >>> from latentlab import encode, find_directions, load_vae, neighborhood
    >>> vae = load_vae("linear")
    >>> z = encode(vae, "sample:flower", size=64)
    >>> hood = neighborhood(vae, z, "tokens")
    >>> found = find_directions(vae, z, hood, n_components=1)
    >>> again = split_half_reliability(vae, z, hood, found)
    >>> again.cosines[0] > 0.9 > again.chance[0]
    True
    """
    count = neighborhood.n_samples
    if count < _FEWEST or directions.steps is not None or directions.rows is None:
        return None
    chosen = finder if isinstance(finder, Finder) else FINDERS.make(finder)
    halves = _halve(neighborhood, seed)
    found = []
    for half in halves:
        try:
            again = search_directions(vae, latent, half, finder=chosen, seed=seed)
        except LatentlabError:
            return None
        assert again.rows is not None
        found.append(again.rows.double())
    if torch.equal(*found):
        return None
    rows = directions.rows.double()
    cosines = _agreement(rows, *found)
    chance = _chance(rows, halves, [len(one) for one in found], seed, chosen.orthonormal)
    return Reliability(tuple(cosines.tolist()), tuple(chance.tolist()))


def _halve(neighborhood: Neighborhood, seed: int) -> list[Neighborhood]:
    """Return a neighborhood divided at random into two."""
    count = neighborhood.n_samples
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    halves = []
    for part in (order[: count // 2], order[count // 2 :]):
        chosen = part.sort().values
        factors = {name: value[chosen] for name, value in neighborhood.factors.items()}
        sampling = replace(neighborhood.sampling, factors=factors, n_samples=len(chosen))
        halves.append(Neighborhood(neighborhood.samples[chosen], sampling))
    return halves


def _chance(
    rows: Tensor, halves: list[Neighborhood], counts: list[int], seed: int, orthonormal: bool
) -> Tensor:
    """Return the mean agreement (k,) on each row (k, D) of random mixtures of both halves."""
    generator = torch.Generator().manual_seed((seed + _CHANCE_SEED) % 2**63)
    means = [column_moments(half.samples)[0] for half in halves]
    at_once = max(1, _VALUES // (max(counts) * rows.shape[1]))
    found = []
    for start in range(0, _DRAWS, at_once):
        draws = min(at_once, _DRAWS - start)
        mixed = []
        for half, mean, count in zip(halves, means, counts, strict=True):
            shape = (draws * count, half.n_samples)
            weights = torch.randn(shape, generator=generator, dtype=torch.float64)
            each = combine_rows(weights, half.samples, mean).double().reshape(draws, count, -1)
            mixed.append(torch.linalg.qr(each.mT).Q.mT if orthonormal else each)
        found.append(_agreement(rows, *mixed))
    return torch.cat(found).mean(0)


def _agreement(rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the |cosine| (…, k) of what is nearest to each row (k, D) in two sets (…, m, D)."""
    nearest = []
    for half in (first, second):
        places = (rows @ half.mT).abs().argmax(-1)
        nearest.append(half.gather(-2, places[..., None].expand(*places.shape, rows.shape[-1])))
    return (nearest[0] * nearest[1]).sum(-1).abs().clamp_max(1)
