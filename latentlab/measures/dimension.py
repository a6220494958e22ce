"""Intrinsic dimension of the latents of images, whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentlab.measures import MEASURES
from latentlab.measures.base import (
    Columns,
    Finished,
    PerImage,
    Tally,
    TooFewError,
    Value,
    value_of,
)
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import Array
from latentlab.metrics.dimension import (
    LOWER_BOUND,
    inverse_dimensions,
    neighbor_distances,
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
    positive = True
    cost = "distances between all latents, up to 64 MB of them"
    formula = (
        "`two_nn`: −ln(1 − F) regressed on ln(r₂/r₁), without the largest tenth; `mle_k` for k = "
        "5, 10, 20: [mean of 1/(k − 1) Σ ln(T_k/T_j)]⁻¹; `participation_ratio`: (tr Σ)² / tr Σ², "
        "both unbiased in the number of images"
    )
    reference = "Facco et al. 2017; Levina and Bickel 2004; Himeno and Yamada 2014"
    evidence = "in how many ways the latents of these images vary"
    not_evidence = (
        "dimensions above about 20: estimates from nearest neighbors are lower bounds there; "
        "their intervals take neighbors as given"
    )
    oracle = "scikit-dimension's values on scikit-learn's digits"

    def begin(self, protocol: Protocol) -> Tally:
        return _RowsTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        raise NotImplementedError

    def statistic(self, name: str, means: Array) -> Array:
        return np.asarray(1 / np.maximum(means[..., 0], 1e-12))


class _RowsTally(Tally):
    """The latents of the first images, all of one shape."""

    def __init__(self, measure: Dimension) -> None:
        self._measure = measure
        self._rows: list[Tensor] = []
        self._images = self._kept = 0

    def add(self, batch: Batch) -> None:
        self._images += len(batch)
        rows = batch.latents.flatten(1).float()
        same = not self._rows or self._rows[0].shape[1] == rows.shape[1]
        if same and (self._kept + len(rows)) * rows.shape[1] <= KEPT_VALUES:
            self._rows.append(rows)
            self._kept += len(rows)

    def finish(self) -> Finished:
        if self._kept < FEWEST:
            raise TooFewError(self._kept, FEWEST, "images of one size")
        rows = torch.cat(self._rows).double().numpy()
        distances = neighbor_distances(rows, max(NEIGHBORS))
        values = {"two_nn": _warned(Value(two_nn(distances), n=len(rows)))}
        for k in NEIGHBORS:
            name = f"mle_{k}"
            columns = Columns(inverse_dimensions(distances, k)[:, None], self._measure, name)
            values[name] = _warned(value_of(columns))
        values["participation_ratio"] = Value(_participation(rows), n=len(rows))
        return Finished(values)


def _warned(value: Value) -> Value:
    if value.value < LOWER_BOUND * 0.75:
        return value
    notes = [value.note, "a lower bound: dimensions above about 20 are underestimated"]
    return Value(value.value, value.low, value.high, value.n, "; ".join(filter(None, notes)))


def _participation(rows: Array) -> float:
    centered = rows - rows.mean(0)
    gram = centered @ centered.T
    variances = np.maximum(np.linalg.eigvalsh(gram), 0) / (len(rows) - 1)
    return participation_ratio_corrected(variances, len(rows), np.diag(gram))
