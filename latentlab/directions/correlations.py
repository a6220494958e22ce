"""Rank correlations of directions with known factors and image statistics, and effect sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.directions.amounts import STATISTICS
from latentlab.directions.supervised import varying_factors
from latentlab.encoding.encoder import decode_each
from latentlab.errors import UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Progress
from latentlab.linalg.bases import random_rows
from latentlab.linalg.sums import project_rows
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.correlation import chance_threshold, spearman
from latentlab.metrics.image_statistics import measure_images
from latentlab.neighborhoods import sampler_of
from latentlab.neighborhoods.amounts import Amount

LABEL_SAMPLES = 64
_RANDOM_DIRECTIONS = 64


@dataclass(frozen=True)
class Association:
    """How one direction correlates with one thing that varies.

    Parameters
    ----------
    name : str, of the factor or statistic
    rho : float, Spearman's correlation
    effect : float, how much it changes for one step along the direction, in ``amount.unit``
    amount : Amount
    """

    name: str
    rho: float
    effect: float
    amount: Amount

    @property
    def is_visible(self) -> bool:
        """Return whether the change is at least the smallest visible one."""
        return abs(self.effect) >= self.amount.visible


@dataclass(frozen=True, eq=False)
class Correlations:
    """Rank correlations of directions with factors or with statistics, and effect sizes.

    Parameters
    ----------
    source : ``"factor"`` or ``"statistic"``
    amounts : name of what was correlated with → its Amount
    rho : Tensor, (k, len(amounts)), float64
    effects : Tensor, (k, len(amounts)), float64; how much each changes, by linear regression, for
        one standard deviation along each direction, in the units of ``amounts``
    threshold : float, 95 % of unrelated directions have a largest |ρ| below it
    baseline : float, mean largest |ρ| of random directions; None for statistics, where each
        random direction would have to be decoded
    """

    source: str
    amounts: Mapping[str, Amount]
    rho: Tensor
    effects: Tensor
    threshold: float
    baseline: float | None = None

    def of(self, k: int) -> dict[str, float]:
        """Return name → ρ of direction k."""
        return dict(zip(self.amounts, self.rho[k].tolist(), strict=True))

    def ranked(self, k: int) -> list[Association]:
        """Return what direction k correlates with, the largest |ρ| first."""
        columns = (self.amounts.items(), self.rho[k].tolist(), self.effects[k].tolist())
        found = [
            Association(name, rho, effect, amount)
            for (name, amount), rho, effect in zip(*columns, strict=True)
        ]
        # Of correlations that are equal up to rounding, the first name is the simplest.
        return sorted(found, key=lambda one: -round(abs(one.rho), 6))


def factor_correlations(
    directions: Directions, fresh: Neighborhood, *, seed: int = 0
) -> Correlations:
    """Return ρ between the scores of fresh samples along each direction and each factor.

    The effect is the mean change of a factor for one standard deviation along the direction.
    """
    names, values = varying_factors(fresh)
    scores = scores_along(directions.rows, fresh)
    known = sampler_of(fresh).amounts
    amounts = {name: known.get(name, Amount()) for name in names}
    generator = torch.Generator().manual_seed(seed)
    count = min(_RANDOM_DIRECTIONS, fresh.n_features)
    chance = scores_along(random_rows(count, fresh.n_features, generator), fresh)
    baseline = float(spearman(chance, values).abs().amax(1).mean())
    return _correlate("factor", scores, values, amounts, seed, baseline)


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
    progress: Progress | None = None,
) -> Correlations:
    """Return ρ between each direction's weight in random mixes and the statistics of their images.

    The latents are z + Σ a_j s_j v_j, where s_j is a walk's step (σ_j) and a_j is standard normal:
    every direction is judged by its contribution while all others vary as well. The a_j are
    uncorrelated in the sample, so that no direction is credited with the effect of another. The
    effect is the mean change of a statistic for one step.
    """
    parts = _uncorrelated_parts(n_samples, len(directions.vectors), seed)
    measured = _measure_mixes(vae, latent, directions, parts, progress)
    values = torch.stack(list(measured.values()), 1)
    amounts = {name: STATISTICS[name] for name in measured}
    return _correlate("statistic", parts.double(), values, amounts, seed)


def _correlate(
    source: str,
    places: Tensor,
    values: Tensor,
    amounts: Mapping[str, Amount],
    seed: int,
    baseline: float | None = None,
) -> Correlations:
    """Return the correlations of places (n, k) with values (n, m), one column an amount."""
    return Correlations(
        source,
        amounts,
        spearman(places, values),
        _effects(places, values, amounts.values()),
        chance_threshold(values, generator=torch.Generator().manual_seed(seed)),
        baseline,
    )


def _effects(places: Tensor, values: Tensor, amounts: Iterable[Amount]) -> Tensor:
    """Return the change (k, m) of each value (n, m) for a deviation of the places (n, k)."""
    centered = places - places.mean(0)
    units = centered / centered.std(0).clamp_min(torch.finfo(centered.dtype).tiny)
    changes: Tensor = units.T @ (values - values.mean(0)) / (len(values) - 1)
    tiny = torch.finfo(values.dtype).tiny
    for column, amount in enumerate(amounts):
        whole = float(values[:, column].mean().abs().clamp_min(tiny)) if amount.relative else 1.0
        changes[:, column] *= amount.scale / whole
    return changes


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
    """Return statistic → values (samples,) of the images of mixes; hues as turns from z's."""
    lengths = directions.step_lengths.to(directions.vectors)
    steps = directions.vectors * lengths[:, None, None, None]
    center = measure_images(next(decode_each(vae, latent.values[None]))[None])
    mixes = latent.values + torch.einsum("nk,kchw->nchw", parts, steps)
    each = []
    for done, image in enumerate(decode_each(vae, mixes), 1):
        each.append(measure_images(image[None]))
        if progress:
            progress("labelling", done, len(parts))
    measured = {name: torch.cat([one[name] for one in each]) for name in center}
    measured["hue"] = (measured["hue"] - center["hue"] + 180) % 360 - 180
    return measured
