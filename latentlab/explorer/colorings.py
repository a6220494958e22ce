"""By what the images of a map are colored: statistics of a latent, and findings of `doctor`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from latentlab.examinations.latents import (
    LARGEST,
    SMALLEST,
    examine_droplets,
    examine_outliers,
    typical_deviation,
)

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.examinations.findings import Finding

Measure = Callable[["Tensor", int], float]


@dataclass(frozen=True)
class Coloring:
    """A number of each latent.

    Parameters
    ----------
    name : str
    label : str, what it is, for people
    group : str, under which it is offered
    about : str, a sentence
    measure : from a latent (C, h, w) and the stride to the number, NaN where it has none; None for
        what needs the image and its reconstruction
    threshold : float, beyond which `doctor` calls it a finding; None for a statistic
    below : bool, whether values below the threshold are findings
    decodes : bool, whether images are decoded for it, so that some are measured at a time
    """

    name: str
    label: str
    group: str
    about: str
    measure: Measure | None
    threshold: float | None = None
    below: bool = False
    decodes: bool = False

    def describe(self) -> dict[str, Any]:
        """Return all but the measure, JSON-ready."""
        return {name: value for name, value in vars(self).items() if name != "measure"}


def colorings_of(channels: int) -> tuple[Coloring, ...]:
    """Return all colorings of latents with so many channels.

    Examples
    --------
    >>> [one.name for one in colorings_of(2)[-5:]]
    ['finite', 'mean-0', 'std-0', 'mean-1', 'std-1']
    """
    return (*_STATISTICS, *_FINDINGS, *_by_channel(channels))


def _mean(latent: Tensor, _: int) -> float:
    return float(latent.double().mean())


def _deviation(latent: Tensor, _: int) -> float:
    return float(latent.double().std())


def _largest(latent: Tensor, _: int) -> float:
    return float(latent.abs().max())


def _kurtosis(latent: Tensor, _: int) -> float:
    values = latent.double().flatten()
    centered = values - values.mean()
    variance = float(centered.square().mean())
    return float(centered.pow(4).mean()) / variance**2 - 3 if variance else math.nan


def _value(examine: Callable[[list[Tensor], int], Finding], latent: Tensor, stride: int) -> float:
    """Return the value of a finding in one latent; NaN where it cannot be examined."""
    if not torch.isfinite(latent).all():
        return math.nan
    found = examine([latent], stride).value
    return math.nan if found is None else found


def _typical(latent: Tensor, _: int) -> float:
    return typical_deviation([latent]) if torch.isfinite(latent).all() else math.nan


def _non_finite(latent: Tensor, _: int) -> float:
    return float((~torch.isfinite(latent)).sum())


def _channel(latent: Tensor, _: int, *, channel: int, spread: bool) -> float:
    values = latent[channel].double()
    return float(values.std() if spread else values.mean())


_STATISTICS = (
    Coloring("mean", "mean", "Latent", "The mean of all values of the latent.", _mean),
    Coloring(
        "std",
        "standard deviation",
        "Latent",
        "The standard deviation of all values of the latent.",
        _deviation,
    ),
    Coloring("largest", "largest value", "Latent", "The largest |value| of the latent.", _largest),
    Coloring(
        "kurtosis",
        "excess kurtosis",
        "Latent",
        "0 for values of a normal distribution; more where a few are far from the others.",
        _kurtosis,
    ),
)
_FINDINGS = (
    Coloring(
        "typical",
        "typical σ",
        "latentlab doctor",
        "√(standard deviation of all values × geometric mean of those of the channels). Healthy "
        f"models have {SMALLEST:g} to {LARGEST:g}, even in one photo.",
        _typical,
    ),
    Coloring(
        "droplets",
        "droplets",
        "latentlab doctor",
        "The loudest lone cell: its norm over that of its surroundings.",
        partial(_value, examine_droplets),
        3.0,
    ),
    Coloring(
        "outliers",
        "black holes",
        "latentlab doctor",
        "The farthest value, in deviations of the inner 99 % of its channel in this latent.",
        partial(_value, examine_outliers),
        45.0,
    ),
    Coloring(
        "finite",
        "values that are not finite",
        "latentlab doctor",
        "How many values are NaN or infinite.",
        _non_finite,
        0.0,
    ),
)


def _by_channel(channels: int) -> tuple[Coloring, ...]:
    kinds = (("mean", False), ("std", True))
    return tuple(
        Coloring(
            f"{kind}-{channel}",
            f"channel {channel}: {'standard deviation' if spread else kind}",
            "Channels",
            f"Of the values of channel {channel}.",
            partial(_channel, channel=channel, spread=spread),
        )
        for channel in range(channels)
        for kind, spread in kinds
    )
