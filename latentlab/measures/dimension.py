"""Intrinsic dimension of the latents of images, whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from latentlab.errors import counted
from latentlab.measures import MEASURES
from latentlab.measures.base import Columns, Finished, PerImage, Tally, TooFewError, Value
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import Array
from latentlab.metrics.dimension import (
    GROUPS,
    LOWER_BOUND,
    errors_of_logs,
    interval_of_log,
    inverse_dimensions,
    jackknife_interval,
    jackknifed_dimensions,
    nearest_others,
    two_nn,
)
from latentlab.metrics.spectrum import participation_ratio_corrected

NEIGHBORS = (5, 10, 20)
FEWEST = 50
KEPT_VALUES = 2**24
"""Numbers of latents that are kept, 64 MB: of more images, the first."""


@MEASURES.register("dimension")
@dataclass(frozen=True)
class Dimension(PerImage):
    """Intrinsic dimension of the latents of images, from neighbors and from the spectrum."""

    label = "intrinsic dimension"
    span = "1 to the number of features"
    needs = ("latents",)
    cost = "distances between all latents, up to 64 MB of them"
    formula = (
        "`two_nn`: −ln(1 − F) regressed on ln(r₂/r₁), without the largest tenth; `mle_k` for k = "
        "5, 10, 20: [mean of 1/(k − 1) Σ ln(T_k/T_j)]⁻¹; `participation_ratio`: (tr Σ)² / tr Σ², "
        "both unbiased in the number of images. `mle_k` of an image is its pseudo-value of the "
        "jackknife, from which differences between models have intervals that are rather too wide"
    )
    reference = "Facco et al. 2017; Levina and Bickel 2004; Himeno and Yamada 2014"
    evidence = "in how many ways the latents of these images vary"
    not_evidence = (
        "dimensions above about 20: estimates from nearest neighbors are lower bounds there, and "
        "from 5 on they are too low for some hundred images; their intervals hold the estimate "
        "from other images, not the dimension"
    )
    oracle = "scikit-dimension's values on scikit-learn's digits"

    def begin(self, protocol: Protocol) -> Tally:
        return _RowsTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        raise NotImplementedError


class _RowsTally(Tally):
    """The latents of the first images, all of one shape."""

    def __init__(self, measure: Dimension) -> None:
        self._measure = measure
        self._rows: list[Tensor] = []
        self._numbers: list[int] = []
        self._count = self._kept = 0

    def add(self, batch: Batch) -> None:
        self._count = batch.first + len(batch)
        rows = batch.latents.flatten(1).float()
        same = not self._rows or self._rows[0].shape[1] == rows.shape[1]
        if same and (self._kept + len(rows)) * rows.shape[1] <= KEPT_VALUES:
            self._rows.append(rows)
            self._numbers += range(batch.first, self._count)
            self._kept += len(rows)

    def finish(self) -> Finished:
        if self._kept < FEWEST:
            raise TooFewError(self._kept, FEWEST, "images of one size")
        rows = torch.cat(self._rows).double().numpy()
        distances, others = nearest_others(rows, max(NEIGHBORS) + 1)
        estimates = _estimates()
        errors, freedom = errors_of_logs(rows, estimates, max(NEIGHBORS))
        values = {}
        for name, estimate in estimates.items():
            value = estimate(distances)
            low, high = interval_of_log(value, errors[name], freedom) or (None, None)
            n, note = _counted(distances)
            if low is None:
                note = "; ".join(filter(None, [note, "no interval: too few images differ"]))
            values[name] = _warned(Value(value, low, high, n, note))
        values["participation_ratio"] = _spectral(rows)
        if (distances[:, 0] == 0).any():
            return Finished(values)
        each = {k: jackknifed_dimensions(distances, others, k) for k in NEIGHBORS}
        return Finished(values, {f"mle_{k}": self._columns(k, each[k]) for k in NEIGHBORS})

    def _columns(self, k: int, each: Array) -> Columns:
        rows = np.full((self._count, 1), np.nan)
        rows[self._numbers, 0] = each
        return Columns(rows, self._measure, f"mle_{k}")


def _mle(distances: Array, *, k: int) -> float:
    """Return Levina and Bickel's dimension of distances (n, ≥ k) to neighbors."""
    inverse = inverse_dimensions(distances, k)
    return float(1 / np.nanmean(inverse))


def _estimates() -> dict[str, Callable[[Array], float]]:
    """Return the name of a value → its estimate from distances to neighbors."""
    found: dict[str, Callable[[Array], float]] = {"two_nn": two_nn}
    return found | {f"mle_{k}": partial(_mle, k=k) for k in NEIGHBORS}


def _counted(distances: Array) -> tuple[int, str]:
    """Return how many images count, and a note on those that do not."""
    duplicates = int((distances[:, 0] == 0).sum())
    note = f"{counted(duplicates)} with a duplicate left out" if duplicates else ""
    return len(distances) - duplicates, note


def _spectral(rows: Array) -> Value:
    """Return the participation ratio of rows, with its interval over images."""
    centered = rows - rows.mean(0)
    gram, group = centered @ centered.T, np.arange(len(rows)) % GROUPS
    without = [
        _participation(gram[np.ix_(group != number, group != number)]) for number in range(GROUPS)
    ]
    value = _participation(gram)
    low, high = jackknife_interval(value, without) or (None, None)
    return Value(value, low, high, len(rows))


def _warned(value: Value) -> Value:
    if value.value < LOWER_BOUND * 0.75:
        return value
    notes = [value.note, "a lower bound: dimensions above about 20 are underestimated"]
    return Value(value.value, value.low, value.high, value.n, "; ".join(filter(None, notes)))


def _participation(gram: Array) -> float:
    """Return the participation ratio of the Gram matrix (n, n) of rows, which it centers."""
    means = gram.mean(0)
    centered = gram - means - means[:, None] + gram.mean()
    variances = np.maximum(np.linalg.eigvalsh(centered), 0) / (len(gram) - 1)
    return participation_ratio_corrected(variances, len(gram), np.diag(centered))
