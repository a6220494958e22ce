"""The description of an exported model: sizes, ranges, and the effect of each latent."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.exported import FORMAT
from latentlab.digits.folders import DigitsRun
from latentlab.digits.measure import center_and_spread
from latentlab.digits.morphology import UNITS
from latentlab.digits.traversal import measure_changes, traverse_latents

_GRAY = "gray values in [0, 1], ink is 1, no further scaling"
_PRIOR_UNITS = "standard deviations of the prior N(0, 1)"
_OWN_UNITS = "the encoder's own units: there is no prior, see rest and spread"
_REACH = 3.0
_SPAN = 2.0
_ROUNDING = 1e-3
_NOTICEABLE = 0.2
# The smallest changes worth naming, relative to the side of the image (its square for the area).
_FLOORS = {"slant": 0.05, "thickness": 0.01, "width": 0.03, "height": 0.03}
_FLOORS |= {"area": 0.01, "length": 0.1}


def describe_model(run: DigitsRun) -> dict[str, Any]:
    """Return the facts of a model by name, as values for JSON.

    Returns
    -------
    dict with ``format``, ``name``, ``model``, ``network``, ``latent``, ``size``; ``labels``;
    ``sees_label`` and ``variational``; ``active`` (L,), false for latents that have collapsed;
    ``tilt_dimension`` and ``tilt_sign`` (+1 if a larger
    value leans further to the right), null if unknown; ``normalization``; ``rest`` and
    ``spread`` (L,), the default of each latent and the standard deviation to draw it with;
    ``ranges`` (L, 2); ``quantiles`` of the test set's codes; ``effects`` (L,), the factor that each
    latent changes most and its change from −2 to 2 of the spread, null for latents with hardly any
    effect

    Examples
    --------
    >>> from latentlab.digits.folders import load_run
    >>> facts = describe_model(load_run())
    >>> facts["tilt_dimension"], facts["effects"][3]["factor"], len(facts["ranges"])
    (3, 'slant', 8)
    """
    config, tilt = run.model.config, run.tilt_dimension
    rest, spread = center_and_spread(run.model, run.codes)
    changes = _mean_changes(run, rest, spread)
    units = _PRIOR_UNITS if config.is_variational else _OWN_UNITS
    return {
        "format": FORMAT,
        "name": run.name,
        "model": config.model,
        "network": config.network,
        "latent": config.latent,
        "size": config.size,
        "labels": list(range(config.classes)),
        "sees_label": config.sees_label,
        "variational": config.is_variational,
        "active": run.active,
        "tilt_dimension": tilt,
        "tilt_sign": None if tilt is None else (1 if changes["slant"][tilt] >= 0 else -1),
        "normalization": {"image": _GRAY, "z": units},
        "rest": _rounded(rest),
        "spread": _rounded(spread),
        "ranges": _ranges(run.codes.mean, rest, spread),
        "quantiles": run.facts.get("latent", {}).get("quantiles", {}),
        "effects": _effects(changes, tilt, config.size),
    }


def _ranges(codes: Tensor, rest: Tensor, spread: Tensor) -> list[list[float]]:
    """Return the range over which each latent is worth moving, rounded to tenths.

    It holds the prior within 3 standard deviations and all but the outermost codes of the test set.
    """
    low, high = codes.quantile(torch.tensor([0.005, 0.995]), dim=0)
    low = torch.minimum(low, rest - _REACH * spread)
    high = torch.maximum(high, rest + _REACH * spread)
    return [
        [float(np.floor(first * 10 + _ROUNDING) / 10), float(np.ceil(last * 10 - _ROUNDING) / 10)]
        for first, last in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _mean_changes(run: DigitsRun, rest: Tensor, spread: Tensor) -> dict[str, NDArray[np.float64]]:
    """Return how each factor changes from −2 to 2 (L,), mean over labels; 0 without ink."""
    values = rest[:, None] + spread[:, None] * torch.tensor([-_SPAN, _SPAN])
    changes = measure_changes(traverse_latents(run.model, values, center=rest))
    return {name: np.nan_to_num(change).mean(0) for name, change in changes.items()}


def _effects(
    changes: dict[str, NDArray[np.float64]], tilt: int | None, size: int
) -> list[dict[str, Any] | None]:
    """Return the leading factor of each latent: the one it moves most relative to the others."""
    names = list(changes)
    table = np.stack([changes[name] for name in names], axis=1)
    sides = {"slant": 1, "area": size**2}
    floors = np.array([_FLOORS[name] * sides.get(name, size) for name in names])
    share = np.abs(table) / np.maximum(np.abs(table).max(0), floors / _NOTICEABLE)
    effects: list[dict[str, Any] | None] = [None] * len(table)
    for latent, row in enumerate(share):
        name = "slant" if latent == tilt else names[row.argmax()]
        if latent == tilt or row.max() >= _NOTICEABLE:
            change = round(float(changes[name][latent]), 3)
            effects[latent] = {"factor": name, "change": change, "unit": UNITS[name]}
    return effects


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]
