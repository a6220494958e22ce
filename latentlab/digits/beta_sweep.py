"""The trade-off that β sets: reconstruction against disentanglement, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import numpy as np

from latentlab.digits.data import DigitsData
from latentlab.digits.factors import summarize_factors
from latentlab.digits.measure import encode_digits, measure_losses
from latentlab.digits.models import DigitsConfig
from latentlab.digits.morphology import measure_digits
from latentlab.digits.objective import Beta
from latentlab.digits.training import Recipe, Trainer
from latentlab.errors import UsageError
from latentlab.latents import Progress

_LOSSES = ("reconstruction", "kl", "total", "active_units")
_CONFIDENCE = 0.95
_MEASURED = 3000


def check_sweep(config: DigitsConfig, betas: Sequence[float]) -> None:
    """Raise UsageError if the model is an autoencoder or a β is out of its range."""
    if not config.is_variational:
        raise UsageError("--model autoencoder", "vae or cvae, which have a β", "choose one of them")
    for beta in betas:
        Beta(beta)


def sweep_betas(
    config: DigitsConfig,
    recipe: Recipe,
    data: DigitsData,
    betas: Sequence[float],
    seeds: Sequence[int],
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a model for every β and seed; return the figures of each on the test set for JSON.

    Parameters
    ----------
    config, recipe : of every model; the recipe's β and seed are replaced
    data : DigitsData
    betas : weights of the KL term
    seeds : seeds
    progress : called as ``progress("training", epochs done, epochs in all)``

    Returns
    -------
    dict with ``model``, ``data``, ``epochs``, ``seeds`` and ``confidence``; and ``betas``, for each
    weight the mean, the half-width of the 95 % interval (None with one seed) and the values by seed
    of ``reconstruction``, ``kl``, ``total`` and ``active_units``, as in
    :class:`latentlab.digits.measure.Losses`, and of the figures of
    :func:`latentlab.digits.factors.summarize_factors`

    Raises
    ------
    UsageError : the model is an autoencoder, which has no β, or a β is out of its range.
    """
    check_sweep(config, betas)
    recipes = [
        replace(recipe, beta=replace(recipe.beta, final=beta), seed=seed)
        for beta, seed in product(betas, seeds)
    ]
    done, total = 0, len(recipes) * recipe.epochs
    shown = data.test.draw(_MEASURED)
    factors = measure_digits(shown.images.numpy())
    found = []
    for chosen in recipes:
        trainer = Trainer(config, chosen, data)
        while not trainer.is_done:
            trainer.run_epoch()
            done += 1
            if progress:
                progress("training", done, total)
        losses = asdict(measure_losses(trainer.model, data.test, seed=chosen.seed))
        codes = encode_digits(trainer.model, shown)
        summary = summarize_factors(codes, factors, seed=chosen.seed)
        found.append({**{name: losses[name] for name in _LOSSES}, **summary})
    return {
        "model": asdict(config),
        "data": data.name,
        "epochs": recipe.epochs,
        "seeds": list(seeds),
        "confidence": _CONFIDENCE,
        "betas": [
            {"beta": beta, **_over_seeds(found[start : start + len(seeds)])}
            for beta, start in zip(betas, range(0, len(found), len(seeds)), strict=True)
        ],
    }


def _over_seeds(found: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Return mean, interval and values of each figure, by name."""
    figures = {}
    for name in found[0]:
        values = [float(one[name]) for one in found]
        mean, interval = mean_and_interval(values)
        figures[name] = {"mean": mean, "interval": interval, "values": values}
    return figures


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and half the width of its 95 % interval (Student's t).

    The half-width is None for a single value, which says nothing about chance.

    Examples
    --------
    >>> mean, half = mean_and_interval([1.0, 2.0, 3.0])
    >>> mean, round(half, 3)
    (2.0, 2.484)
    """
    from scipy.stats import t

    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return mean, None
    quantile = t.ppf((1 + _CONFIDENCE) / 2, count - 1)
    return mean, float(quantile * np.std(values, ddof=1) / np.sqrt(count))
