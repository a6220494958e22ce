"""Rank correlations of directions with known factors and image statistics, against chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentlab.directions.amounts import STATISTICS
from latentlab.directions.effects import measure_with_turn
from latentlab.directions.supervised import varying_factors
from latentlab.encoding.encoder import decode_each
from latentlab.errors import UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Progress
from latentlab.linalg.sums import eigenpairs, gram_matrix, project_rows
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.correlation import largest_by_chance, spearman
from latentlab.neighborhoods import sampler_of
from latentlab.neighborhoods.amounts import Amount

LABEL_SAMPLES = 64
_RANDOM_DIRECTIONS = 2000


@dataclass(frozen=True)
class Association:
    """How one direction correlates with one thing that varies.

    Parameters
    ----------
    name : str, of the factor or statistic
    rho : float, Spearman's correlation
    amount : Amount
    effect : float, how much one step along the direction changes it, measured on the decoded
        images, in ``amount.unit``; None if it cannot be measured
    random : float, 95 % of random directions have a smaller |ρ| with it; 0 if unknown
    """

    name: str
    rho: float
    amount: Amount
    effect: float | None = None
    random: float = 0.0

    @property
    def is_visible(self) -> bool:
        """Return whether the change is at least the smallest visible one, as far as is known."""
        return is_visible(self.rho, self.effect, self.amount.visible)


def is_above(rho: float, threshold: float, random: float) -> bool:
    """Return whether |ρ| is above what is unrelated and not below what random directions have."""
    return abs(rho) > threshold and abs(rho) > random - 1e-6


def is_visible(rho: float, effect: float | None, visible: float) -> bool:
    """Return whether a change is visible, and of the sign of the correlation, as far as known."""
    return effect is None or math.copysign(effect, effect * rho) >= visible


@dataclass(frozen=True, eq=False)
class Correlations:
    """Rank correlations of directions with factors or with statistics.

    Parameters
    ----------
    source : ``"factor"`` or ``"statistic"``
    amounts : name of what was correlated with → its Amount
    rho : Tensor, (k, len(amounts)), float64
    threshold : float, 95 % of sets of unrelated directions have their largest |ρ| below it
    effects : Tensor, (k, len(amounts)), float64; what one step changes, in the units of
        ``amounts``, NaN where that cannot be measured; None if it was not measured
    random : Tensor, (len(amounts),), the 95 % quantile of |ρ| over random directions; None for
        statistics, where each random direction would have to be decoded
    """

    source: str
    amounts: Mapping[str, Amount]
    rho: Tensor
    threshold: float
    effects: Tensor | None = None
    random: Tensor | None = None

    def of(self, k: int) -> dict[str, float]:
        """Return name → ρ of direction k."""
        return dict(zip(self.amounts, self.rho[k].tolist(), strict=True))

    def ranked(self, k: int) -> list[Association]:
        """Return what direction k correlates with, the largest |ρ| first."""
        count = len(self.amounts)
        effects = [math.nan] * count if self.effects is None else self.effects[k].tolist()
        random = [0.0] * count if self.random is None else self.random.tolist()
        columns = (self.amounts.items(), self.rho[k].tolist(), effects, random)
        found = [
            Association(name, rho, amount, None if math.isnan(effect) else effect, chance)
            for (name, amount), rho, effect, chance in zip(*columns, strict=True)
        ]
        # Of correlations that are equal up to rounding, the first name is the simplest.
        return sorted(found, key=lambda one: -round(abs(one.rho), 6))

    def is_above_chance(self, one: Association) -> bool:
        """Return whether a correlation exceeds that of unrelated and that of random directions.

        Where a single factor varies, every direction reads it perfectly, and all are equal.
        """
        return is_above(one.rho, self.threshold, one.random)


def factor_correlations(
    directions: Directions, fresh: Neighborhood, *, seed: int = 0, level: float = 0.95
) -> Correlations:
    """Return ρ between the scores of fresh samples along each direction and each factor.

    Parameters
    ----------
    directions : Directions
    fresh : Neighborhood of held-out samples
    seed : int
    level : float, share of sets of unrelated directions that stay below the threshold
    """
    names, values = varying_factors(fresh)
    scores = scores_along(directions.rows, fresh)
    known = sampler_of(fresh).amounts
    amounts = {name: known.get(name, Amount()) for name in names}
    found = _correlate("factor", scores, values, amounts, seed, level)
    chance = spearman(random_scores(fresh, _RANDOM_DIRECTIONS, seed), values).abs()
    return replace(found, random=chance.quantile(0.95, dim=0))


def random_scores(fresh: Neighborhood, count: int, seed: int) -> Tensor:
    """Return the scores (N, count), float64, of samples along random directions, up to a scale.

    Scores along normal directions are normal numbers whose covariance is the samples' Gram matrix,
    so that no direction has to be drawn.
    """
    _, gram = gram_matrix(fresh.samples)
    values, vectors = eigenpairs(gram)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(len(values), count, generator=generator, dtype=torch.float64)
    return vectors @ (values.sqrt()[:, None] * normal)


def scores_along(rows: Tensor | None, neighborhood: Neighborhood) -> Tensor:
    """Return the samples' scores (N, k), float64, along rows (k, n_features), from their mean.

    Raises
    ------
    UsageError : no rows, or rows of other features.
    """
    if rows is None or rows.shape[1] != neighborhood.n_features:
        raise UsageError(
            f"directions {'without rows' if rows is None else f'of {rows.shape[1]} features'} "
            f"for {neighborhood!r}",
            "directions that were found in this neighborhood's features",
            "find them with latentlab.find_directions in the same neighborhood",
        )
    mean = neighborhood.samples.double().mean(0)
    return project_rows(neighborhood.samples, mean, rows.double().T)


def statistic_correlations(
    vae: LatentVAE,
    latent: Latent,
    directions: Directions,
    *,
    n_samples: int = LABEL_SAMPLES,
    seed: int = 0,
    level: float = 0.95,
    progress: Progress | None = None,
) -> Correlations:
    """Return ρ between each direction's weight in random mixes and the statistics of their images.

    The latents are z + Σ a_j s_j v_j, where s_j is a walk's step (σ_j) and a_j is standard normal:
    every direction is judged by its contribution while all others vary as well. The a_j are
    uncorrelated in the sample, so that no direction is credited with the effect of another. An
    image that is nearly gray has no hue.
    """
    parts = _uncorrelated_parts(n_samples, len(directions.vectors), seed)
    measured = _measure_mixes(vae, latent, directions, parts, progress)
    values = torch.stack(list(measured.values()), 1)
    amounts = {name: STATISTICS[name] for name in measured}
    return _correlate("statistic", parts.double(), values, amounts, seed, level)


def _correlate(
    source: str,
    places: Tensor,
    values: Tensor,
    amounts: Mapping[str, Amount],
    seed: int,
    level: float,
) -> Correlations:
    """Return the correlations of places (n, k) with values (n, m), one column an amount."""
    generator = torch.Generator().manual_seed(seed)
    threshold = largest_by_chance(places, values, generator=generator, level=level)
    return Correlations(source, amounts, spearman(places, values), threshold)


def _uncorrelated_parts(n_samples: int, k: int, seed: int) -> Tensor:
    """Return normal numbers (n_samples, k), uncorrelated where k is smaller than n_samples."""
    parts = torch.randn(n_samples, k, generator=torch.Generator().manual_seed(seed))
    if k >= n_samples:
        return parts
    basis, triangle = torch.linalg.qr(parts - parts.mean(0))
    uncorrelated: Tensor = basis * triangle.diagonal().sign() * (n_samples - 1) ** 0.5
    return uncorrelated


def _measure_mixes(
    vae: LatentVAE,
    latent: Latent,
    directions: Directions,
    parts: Tensor,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """Return statistic → values (samples,) of the images of mixes."""
    lengths = directions.step_lengths.to(directions.vectors)
    steps = directions.vectors * lengths[:, None, None, None]
    center = next(decode_each(vae, latent.values[None]))
    mixes = latent.values + torch.einsum("nk,kchw->nchw", parts, steps)
    each = []
    for done, image in enumerate(decode_each(vae, mixes), 1):
        each.append(measure_with_turn(image[None], center))
        if progress:
            progress("labeling", done, len(parts))
    return {name: torch.cat([one[name] for one in each]) for name in each[0]}
