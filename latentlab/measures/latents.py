"""Statistics of the latents of all images, as of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from latentlab.measures import MEASURES
from latentlab.measures.base import Finished, Measure, Tally, TooFewError, Value, no_interval
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import FEWEST
from latentlab.store.statistics import Statistics


@MEASURES.register("latents")
@dataclass(frozen=True)
class LatentStatistics(Measure):
    """Scale, tails, dead channels and outliers of the latents, in model space."""

    label = "latents"
    span = "see the formula"
    needs = ("latents",)
    formula = (
        "over all cells: `latent_std` and `latent_mean` of all channels together, "
        "`latent_kurtosis` (largest |excess| of a channel), `dead_channels` (σ below 1 % of the "
        "upper quartile), `outlier_cells` (share with a norm 8 scaled MADs above the median), "
        "`corner_bias` (largest |mean of the corners − mean| of a channel, in σ); the curve "
        "`token_variance` is the cumulative explained variance of the cells' channels"
    )
    reference = "Chan, Golub and LeVeque 1983, for the sums"
    evidence = "whether model space has unit scale, and which channels or cells do not fit it"
    not_evidence = "quality of reconstructions or samples"
    oracle = "NumPy and SciPy over all cells at once"

    def begin(self, protocol: Protocol) -> Tally:
        return _StatisticsTally()

    def unit_of(self, name: str) -> str:
        units = {"dead_channels": "channels", "outlier_cells": "share", "corner_bias": "σ"}
        return units.get(name, "")


class _StatisticsTally(Tally):
    """The sums of a store's statistics."""

    def __init__(self) -> None:
        self._found: Statistics | None = None

    def add(self, batch: Batch) -> None:
        if self._found is None:
            self._found = Statistics(batch.vae.spec.channels)
        self._found.add(batch.latents)

    def finish(self) -> Finished:
        if self._found is None:
            raise TooFewError(0, 1)
        facts, n = self._found.facts(), self._found.latents
        curves = {"latent_channels": facts["channels"]}
        if self._found.cells is not None:
            variances = torch.linalg.eigvalsh(self._found.cells.products).flip(0).clamp_min(0)
            curves["token_variance"] = (variances.cumsum(0) / variances.sum()).tolist()
        return Finished(_values(facts, n), curves=curves)


def _values(facts: Mapping[str, Any], n: int) -> dict[str, Value]:
    constants, channels = facts["constants"], facts["channels"]
    shift, scale = constants["shift_factor"], constants["scaling_factor"]
    kurtosis = max(channels["excess_kurtosis"], key=abs)
    corners = max(map(abs, facts["spatial"]["corners"]))
    dead, far = channels["dead"], facts["outlier_cells"]
    std = Value(1 / scale["value"], 1 / scale["upper"], 1 / scale["lower"], n)
    mean = Value(shift["value"], shift["lower"], shift["upper"], n)
    if n < FEWEST:
        std, mean = (Value(one.value, n=n, note=no_interval(n)) for one in (std, mean))
    return {
        "latent_std": std,
        "latent_mean": mean,
        "latent_kurtosis": Value(kurtosis, n=n),
        "dead_channels": Value(float(len(dead)), n=n, note=", ".join(map(str, dead))),
        "outlier_cells": Value(far["share"], n=n, note=f"norm above {far['norm_above']:.3g}"),
        "corner_bias": Value(corners, n=n),
    }
