"""Cells that are near, and images of one class: whether their latents are alike."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentlab.errors import FileError, UsageError, counted
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
from latentlab.metrics.locality import (
    interpolation_information,
    locality,
    neighbors_hit,
    same_class_neighbors,
)
from latentlab.metrics.moments import alive_channels

SIDE = 16
"""Of larger latents every second cell, or every third and so on, is compared with all others."""
NEIGHBORS = (5, 10)
FEWEST_OF_CLASS = 5
KEPT_VALUES = 2**24
FOLDERS = "folders"
"""Images are labeled by the folders that they are in."""


@MEASURES.register("locality")
@dataclass(frozen=True)
class Locality(PerImage):
    """Whether near cells of a latent are more alike than far ones."""

    label = "locality"
    span = "−2 to 2; independent cells have 0"
    needs = ("latents",)
    formula = (
        "cosines of cells, channels centered and scaled within an image: `lds` mean of near − mean "
        "of far cells, `cds` −slope of the cosine against distance in sides of the latent"
    )
    reference = "arXiv 2606.03578"
    evidence = "whether the latent is laid out as the image is"
    not_evidence = "rank between families of tokenizers"
    oracle = "white noise, which has 0; a smooth field, by hand"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        latents = batch.latents
        height, width = latents.shape[-2:]
        if max(height, width) > SIDE:
            step = -(-max(height, width) // SIDE)
            latents = latents[..., ::step, ::step]
        centered = latents - latents.mean((2, 3), keepdim=True)
        unit = centered / centered.std((2, 3), keepdim=True).clamp_min(1e-12)
        lds, cds = locality(unit)
        return {"lds": lds, "cds": cds}


def read_labels(source: str, paths: tuple[str, ...]) -> dict[str, str]:
    """Return path → class: of a CSV file with the columns path and label, or of the folders.

    Parameters
    ----------
    source : ``"folders"`` for the name of the folder of each image, or a CSV file
    paths : of the images

    Raises
    ------
    FileError : the file cannot be read, or lacks a column or the label of a row.
    """
    if source == FOLDERS:
        return {path: Path(path).parent.name for path in paths}
    try:
        with Path(source).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
        found = {row["path"]: row["label"] for _, row in rows}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise FileError(
            f"{source} ({error})", "a CSV file with the columns path and label", "correct it"
        ) from error
    for line, row in rows:
        # The reader fills short rows with None, and puts further cells under None.
        if not row["path"] or not row["label"] or None in row:
            raise FileError(
                f"line {line} of {source}", "a path, a label and no further cell", "correct it"
            )
    return found


@MEASURES.register("semantics")
@dataclass(frozen=True)
class Semantics(PerImage):
    """Whether images of one class have latents that are alike, against shuffled classes."""

    labels: str = ""

    label = "semantics"
    span = "0 to 1; `viv` 0 to π/2"
    needs = ("latents", "labels")
    cost = "cosines between all latents, up to 64 MB of them; one logistic regression"
    formula = (
        "each channel that is not dead with mean 0 and variance 1 over these images; `lnc_5`, "
        "`lnc_10` share of one class among the nearest by cosine; `knn_5`, `knn_10` accuracy of "
        "the majority among them; `probe` accuracy of a linear classifier on the channels' means, "
        "deviations and a 4×4 grid, five folds; `…_chance` the same with shuffled classes; `viv` "
        "(π/2) Σ√λ of the within-class covariance Σ_s ⊗ Σ_c, scaled to its total variance"
    )
    reference = "arXiv 2606.03578"
    evidence = "how far classes can be read off the latent without a network"
    not_evidence = "rank between families of tokenizers: only within one"
    oracle = "white noise: π/2, and chance 1 / classes; scikit-learn's k-NN"

    def begin(self, protocol: Protocol) -> Tally:
        return _LabeledTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        raise NotImplementedError

    def is_share(self, name: str) -> bool:
        return True


class _LabeledTally(Tally):
    """The latents of the first images and their paths."""

    def __init__(self, measure: Semantics) -> None:
        self._measure = measure
        # Before the first image, so that a wrong file is said at once.
        self._known = None if measure.labels == FOLDERS else read_labels(measure.labels, ())
        self._rows: list[Tensor] = []
        self._paths: list[str] = []
        self._numbers: list[int] = []
        self._kept = self._count = 0

    def add(self, batch: Batch) -> None:
        self._count = batch.first + len(batch)
        if (self._kept + 1) * batch.latents[0].numel() > KEPT_VALUES:
            return
        if self._rows and self._rows[0].shape[1:] != batch.latents.shape[1:]:
            return
        self._rows.append(batch.latents.float())
        self._paths += batch.paths
        self._numbers += range(batch.first, batch.first + len(batch))
        self._kept += len(batch)

    def finish(self) -> Finished:
        known = self._known
        if known is None:
            known = read_labels(FOLDERS, tuple(self._paths))
        having = [k for k, path in enumerate(self._paths) if path in known]
        classes = np.array([known[self._paths[k]] for k in having])
        names, counts = np.unique(classes, return_counts=True)
        if len(names) < 2:
            raise UsageError(
                f"{counted(len(names), 'labels')} for {len(having)} of {counted(len(self._paths))}",
                "at least two",
                "pass --labels folders, or a CSV file with the columns path and label",
            )
        if counts.min() < FEWEST_OF_CLASS:
            name = names[counts.argmin()]
            raise TooFewError(int(counts.min()), FEWEST_OF_CLASS, f"images of the class {name}")
        latents = _normalized(torch.cat(self._rows)[having])
        hits = {**_hits_of_neighbors(latents, classes), **_hits_of_probe(latents, classes)}
        numbers = [self._numbers[k] for k in having]
        columns = {name: self._columns(name, one, numbers) for name, one in hits.items()}
        values = {
            name: value_of(one, "five folds" if name.startswith("probe") else "")
            for name, one in columns.items()
        }
        try:
            viv = interpolation_information(latents, classes)
            values["viv"] = Value(viv, n=len(latents), note="white noise has 1.571")
        except UsageError as error:
            values["viv"] = Value(float("nan"), n=len(latents), note=str(error))
        return Finished(values, columns)

    def _columns(self, name: str, hits: Array, numbers: list[int]) -> Columns:
        found = np.full((self._count, 1), np.nan)
        found[numbers, 0] = hits
        return Columns(found, self._measure, name)


def _hits_of_neighbors(latents: Array, classes: np.ndarray) -> dict[str, Array]:
    """Return name of a value → what nearest neighbors make of each image, 0 to 1."""
    rows = latents.reshape(len(latents), -1)
    rows = rows - rows.mean(0)
    shuffled = np.random.default_rng(0).permutation(classes)
    found = {}
    for k in NEIGHBORS:
        if len(rows) <= k:
            continue
        for kind, of_rows in (("lnc", same_class_neighbors), ("knn", neighbors_hit)):
            found[f"{kind}_{k}"] = of_rows(rows, classes, k)
            found[f"{kind}_{k}_chance"] = of_rows(rows, shuffled, k)
    return found


def _normalized(latents: Tensor) -> Array:
    """Return latents (n, C, h, w) without dead channels, the others of mean 0 and variance 1."""
    variance, mean = torch.var_mean(latents.double(), (0, 2, 3), correction=0, keepdim=True)
    alive = alive_channels(variance.sqrt().flatten())
    if not alive.any():
        raise UsageError("latents that never vary", "channels that do", "pass other images")
    found = (latents.double() - mean)[:, alive] / variance.sqrt()[:, alive]
    return np.asarray(found.numpy())


def _hits_of_probe(latents: Array, classes: np.ndarray) -> dict[str, Array]:
    """Return where a linear probe is right (1) over five folds, and so with shuffled classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = _features(latents)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    shuffled = np.random.default_rng(0).permutation(classes)
    return {
        name: np.asarray(cross_val_predict(model, features, some, cv=folds) == some, np.float64)
        for name, some in (("probe", classes), ("probe_chance", shuffled))
    }


def _features(latents: Array) -> Array:
    """Return means, deviations and a 4×4 grid of means of the channels (n, 18 C)."""
    height, width = latents.shape[2:]
    rows, columns = np.linspace(0, height, 5).astype(int), np.linspace(0, width, 5).astype(int)
    grid = [
        latents[
            :,
            :,
            rows[i] : max(rows[i + 1], rows[i] + 1),
            columns[j] : max(columns[j + 1], columns[j] + 1),
        ].mean((2, 3))
        for i in range(4)
        for j in range(4)
        if rows[i] < height and columns[j] < width
    ]
    return np.concatenate([latents.mean((2, 3)), latents.std((2, 3)), *grid], 1)
