"""The trade-off that β sets: reconstruction against disentanglement, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentlab.digits.data import DigitsData
from latentlab.digits.factors import summarize_factors
from latentlab.digits.measure import encode_digits, measure_losses
from latentlab.digits.models import DigitsConfig
from latentlab.digits.morphology import measure_digits
from latentlab.digits.objective import Beta
from latentlab.digits.training import Recipe, Trainer
from latentlab.errors import UsageError

if TYPE_CHECKING:
    from latentlab.latents import Progress

_LOSSES = ("reconstruction", "kl", "total", "active_units")
_CONFIDENCE = 0.95
_MEASURED = 3000


@dataclass(frozen=True, eq=False)
class BetaSweep:
    """Figures of models that differ only in β and seed, measured on the test set.

    Parameters
    ----------
    config : DigitsConfig of every model
    epochs : int, of every training
    data : str, name of the data
    betas : weights of the KL term
    seeds : seeds
    values : name → array (betas, seeds); ``reconstruction``, ``kl``, ``total`` and ``active_units``
        as in :class:`latentlab.digits.measure.Losses`, and the figures of
        :func:`latentlab.digits.factors.summarize_factors`
    """

    config: DigitsConfig
    epochs: int
    data: str
    betas: tuple[float, ...]
    seeds: tuple[int, ...]
    values: dict[str, NDArray[np.float64]]


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
) -> BetaSweep:
    """Train a model for every β and seed, and measure each on the test set.

    Parameters
    ----------
    config, recipe : of every model; the recipe's β and seed are replaced
    progress : called as ``progress("training", epochs done, epochs in all)``

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
    values = {
        name: np.array([one[name] for one in found], np.float64).reshape(len(betas), len(seeds))
        for name in found[0]
    }
    return BetaSweep(config, recipe.epochs, data.name, tuple(betas), tuple(seeds), values)


def mean_and_interval(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean over seeds and half the width of its 95 % interval (Student's t).

    The half-width is 0 with one seed, which says nothing about chance.

    Parameters
    ----------
    values : array, (betas, seeds)

    Examples
    --------
    >>> mean, half = mean_and_interval(np.array([[1.0, 2.0, 3.0]]))
    >>> float(mean[0]), float(half[0].round(3))
    (2.0, 2.484)
    """
    from scipy.stats import t

    count = values.shape[1]
    mean: NDArray[np.float64] = values.mean(1)
    if count < 2:
        return mean, np.zeros_like(mean)
    half = t.ppf((1 + _CONFIDENCE) / 2, count - 1) * values.std(1, ddof=1) / np.sqrt(count)
    return mean, half


def describe_sweep(sweep: BetaSweep) -> dict[str, Any]:
    """Return the contents of ``sweep.json``: a row for each β."""
    rows: list[dict[str, Any]] = [{"beta": beta} for beta in sweep.betas]
    for name, values in sweep.values.items():
        for row, mean, half, by_seed in zip(rows, *mean_and_interval(values), values, strict=True):
            row[name] = {
                "mean": float(mean),
                "interval": float(half) if len(sweep.seeds) > 1 else None,
                "values": by_seed.tolist(),
            }
    return {
        "model": asdict(sweep.config),
        "data": sweep.data,
        "epochs": sweep.epochs,
        "seeds": list(sweep.seeds),
        "confidence": _CONFIDENCE,
        "betas": rows,
    }
