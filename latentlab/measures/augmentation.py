"""How many ways the latent moves in when an image is changed in known ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.encoding.batches import batch_size
from latentlab.encoding.encoder import encode_each
from latentlab.measures import MEASURES
from latentlab.measures.base import Finished, ImageTally, PerImage, Tally
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.spectrum import participation_ratio_corrected
from latentlab.neighborhoods.augment import Augment, change_image

SAMPLES = 32


@MEASURES.register("augmentation")
@dataclass(frozen=True)
class Augmentation(PerImage):
    """Effective dimension of the latents of changed copies of an image."""

    label = "augmentation"
    span = "1 to the number of features; nine factors vary"
    needs = ("latents", "vae")
    positive = True
    cost = f"{SAMPLES} encodes of each image"
    at_most = 8
    formula = (
        f"`augment_dimension` (tr Σ)² / tr Σ², both unbiased, of the latents of {SAMPLES} copies "
        "from the neighborhood augment, mean over images; the curve `augment_variance` is the mean "
        "of their cumulative explained variance"
    )
    reference = "Himeno and Yamada 2014, for the traces"
    evidence = "whether known smooth changes of an image move its latent along few directions"
    not_evidence = "other changes; the orbit of these is curved, so more than nine may be found"
    oracle = "NumPy's eigenvalues of the covariance of the same copies"

    def begin(self, protocol: Protocol) -> Tally:
        return _SpectrumTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        return _dimensions(_copies(batch))


def _copies(batch: Batch) -> list[Tensor]:
    """Return the centered latents (32, D), float64, of the copies of each image of a batch."""
    found, sampler = [], Augment()
    together = batch_size(batch.vae, *batch.images.shape[2:])
    for number, pixels in enumerate(batch.images, batch.first):
        # Each image has its own generator, so that all models get the same copies.
        generator = torch.Generator().manual_seed(number)
        factors = sampler.draw_factors(SAMPLES, generator)
        some = (
            {name: values[begun : begun + together] for name, values in factors.items()}
            for begun in range(0, SAMPLES, together)
        )
        batches = (change_image(pixels, few).contiguous() for few in some)
        rows = torch.cat([*encode_each(batch.vae, batches)]).double().flatten(1)
        found.append(rows - rows.mean(0))
    return found


def _variances(rows: Tensor) -> Tensor:
    """Return the variances (32,) along the components of centered rows, the largest first."""
    found: Tensor = torch.linalg.eigvalsh(rows @ rows.T).flip(0).clamp_min(0) / (len(rows) - 1)
    return found


def _dimensions(copies: list[Tensor]) -> dict[str, Tensor]:
    found = [
        participation_ratio_corrected(_variances(rows), len(rows), rows.square().sum(1))
        for rows in copies
    ]
    return {"augment_dimension": torch.tensor(found, dtype=torch.float64)}


class _SpectrumTally(ImageTally):
    """Dimensions of images, and the mean of their cumulative variance as a curve."""

    def __init__(self, measure: Augmentation) -> None:
        super().__init__(measure)
        self._sum = torch.zeros(SAMPLES - 1, dtype=torch.float64)
        self._summed = 0

    def add(self, batch: Batch) -> None:
        copies = _copies(batch)
        self.take(batch, _dimensions(copies))
        for rows in copies:
            variances = _variances(rows)[: SAMPLES - 1]
            if float(variances.sum()) > 0:
                self._sum += variances.cumsum(0) / variances.sum()
                self._summed += 1

    def finish(self) -> Finished:
        found = super().finish()
        curve = (self._sum / max(self._summed, 1)).tolist()
        return Finished(found.values, found.columns, {"augment_variance": curve})
