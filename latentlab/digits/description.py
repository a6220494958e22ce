"""What a reader of an exported model needs to know: sizes, ranges, and what each latent does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.exported import FORMAT
from latentlab.digits.folders import DigitsRun
from latentlab.digits.morphology import UNITS
from latentlab.digits.traversal import sweep_changes, sweep_latents

_NORMALIZATION = {
    "image": "gray values in [0, 1], ink is 1, no further scaling",
    "z": "standard deviations of the prior N(0, 1)",
}
_REACH = 3.0
_SPAN = 2.0
_ROUNDING = 1e-3
_NOTICEABLE = 0.2
# Smallest change worth a word, beside the side of the picture (its square for the area).
_FLOORS = {"slant": 0.05, "thickness": 0.01, "width": 0.03, "height": 0.03}
_FLOORS |= {"area": 0.01, "length": 0.1}


def describe_model(run: DigitsRun) -> dict[str, Any]:
    """Return the facts of a model, by name, all of them fit for JSON.

    Returns
    -------
    dict with ``format``, ``name``, ``model``, ``network``, ``latent``, ``size``; ``labels``;
    ``sees_label`` and ``variational``; ``tilt_dimension`` and ``tilt_sign`` (+1 where a larger
    value leans further to the right), null where not known; ``normalization``; ``rest`` and
    ``spread`` (L,), where a latent is by default and how widely it is drawn; ``ranges`` (L, 2),
    ``quantiles`` of the test set's codes; ``effects`` (L,), the factor that each latent changes
    most and by how much from −2 to 2 of its spread, null for latents that hardly do anything

    Examples
    --------
    >>> from latentlab.digits.models import DigitsConfig, build_model
    >>> run = DigitsRun("mine", build_model(DigitsConfig("vae", latent=2)))
    >>> facts = describe_model(run)
    >>> facts["ranges"], facts["tilt_dimension"], len(facts["effects"])
    ([[-3.0, 3.0], [-3.0, 3.0]], None, 2)
    """
    config = run.model.config
    rest, spread = rest_of(run)
    changes = _mean_changes(run)
    tilt = run.tilt_dimension
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
        "tilt_dimension": tilt,
        "tilt_sign": None if tilt is None else (1 if changes["slant"][tilt] >= 0 else -1),
        "normalization": _normalization(run),
        "rest": _rounded(rest),
        "spread": _rounded(spread),
        "ranges": _ranges(run),
        "quantiles": run.facts.get("latent", {}).get("quantiles", {}),
        "effects": _effects(changes, tilt, config.size),
    }


def rest_of(run: DigitsRun) -> tuple[Tensor, Tensor]:
    """Return where each latent is by default and how widely it is drawn, both (L,).

    0 and 1, the prior, for a variational model; mean and standard deviation of the test set's
    codes for an autoencoder, which has no prior.
    """
    latent = run.model.config.latent
    if run.model.config.is_variational or run.codes is None:
        return torch.zeros(latent), torch.ones(latent)
    means = run.codes.mean
    return means.mean(0), means.std(0)


def _normalization(run: DigitsRun) -> dict[str, str]:
    if run.model.config.is_variational:
        return _NORMALIZATION
    return _NORMALIZATION | {"z": "the encoder's own units: there is no prior, see rest and spread"}


def _ranges(run: DigitsRun) -> list[list[float]]:
    """Return from where to where each latent is worth moving, in tenths.

    The prior within 3 standard deviations, and all but the outermost codes of the test set.
    """
    rest, spread = rest_of(run)
    low, high = rest - _REACH * spread, rest + _REACH * spread
    if run.codes is not None:
        means = run.codes.mean
        low = torch.minimum(low, means.quantile(0.005, dim=0))
        high = torch.maximum(high, means.quantile(0.995, dim=0))
    return [
        [float(np.floor(first * 10 + _ROUNDING) / 10), float(np.ceil(last * 10 - _ROUNDING) / 10)]
        for first, last in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _mean_changes(run: DigitsRun) -> dict[str, NDArray[np.float64]]:
    """Return how each factor changes from −2 to 2 (L,), mean over labels; 0 without ink."""
    rest, spread = rest_of(run)
    values = rest[:, None] + spread[:, None] * torch.tensor([-_SPAN, _SPAN])
    changes = sweep_changes(sweep_latents(run.model, values, center=rest))
    return {name: np.nan_to_num(change).mean(0) for name, change in changes.items()}


def _effects(
    changes: dict[str, NDArray[np.float64]], tilt: int | None, size: int
) -> list[dict[str, Any] | None]:
    """Return the leading factor of each latent: the one it moves most beside the other latents."""
    names = list(changes)
    table = np.stack([changes[name] for name in names], axis=1)
    floors = np.array([_FLOORS[name] * _side(name, size) for name in names])
    share = np.abs(table) / np.maximum(np.abs(table).max(0), floors / _NOTICEABLE)
    effects: list[dict[str, Any] | None] = []
    for latent, row in enumerate(share):
        leading = names.index("slant") if latent == tilt else int(row.argmax())
        if latent != tilt and row[leading] < _NOTICEABLE:
            effects.append(None)
            continue
        change = round(float(table[latent, leading]), 3)
        effects.append({"factor": names[leading], "change": change, "unit": UNITS[names[leading]]})
    return effects


def _side(factor: str, size: int) -> int:
    return {"slant": 1, "area": size**2}.get(factor, size)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]
