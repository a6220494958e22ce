"""What the encoder's posterior says about each channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentlab.loaders.base import LatentVAE
from latentlab.loaders.normalization import Affine
from latentlab.measures import MEASURES
from latentlab.measures.base import (
    Finished,
    ImageTally,
    Measure,
    PerImage,
    Tally,
    TooFewError,
    Value,
)
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import Array
from latentlab.metrics.divergence import divergence_by_channel
from latentlab.metrics.moments import Moments

ACTIVE = 0.01
"""Variance of the mean above which a channel is active (Burda et al. 2016)."""
CLAMP = (-30.0, 20.0)
"""Where diffusers clamps the log-variance."""


def raw_posterior(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return mean and log-variance as the VAE was trained with them, before normalization."""
    affine = affine_of(batch.vae)
    mean, logvar = batch.posterior.mean, batch.posterior.logvar
    assert logvar is not None
    gain = affine.logvar_to_model(torch.zeros_like(logvar[:1]))
    return affine.from_model(mean), logvar - gain


def affine_of(vae: LatentVAE) -> Affine:
    """Return the map of a VAE to model space; the identity where it states none."""
    found = getattr(vae, "normalization", None)
    return found if isinstance(found, Affine) else Affine()


@MEASURES.register("kl")
@dataclass(frozen=True)
class Divergence(PerImage):
    """KL divergence of the posterior from the prior, of an image and of each number."""

    label = "KL"
    unit = "nats"
    span = "0 (collapsed) to ∞"
    needs = ("posterior",)
    positive = True
    formula = (
        "½ Σ (μ² + σ² − 1 − ln σ²) of the VAE's own latents: `kl` of an image, `kl_per_number`; "
        "by channel in the curve `kl_channels`"
    )
    reference = "Kingma and Welling 2014"
    evidence = "how much the latent says about its image, at most; channels near 0 say nothing"
    not_evidence = "how well a diffusion model learns the latents"
    oracle = "torch.distributions"

    def begin(self, protocol: Protocol) -> Tally:
        return _DivergenceTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        return self.of(divergence_by_channel(*raw_posterior(batch)), batch)

    def of(self, channels: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the columns of the divergence (b, C) of each channel."""
        cells = batch.posterior.mean[0, 0].numel()
        whole = channels.sum(1)
        return {"kl": whole, "kl_per_number": whole / cells / channels.shape[1]}


class _DivergenceTally(Tally):
    """The divergence of images, and the mean of each channel by cell."""

    def __init__(self, measure: Divergence) -> None:
        self._measure = measure
        self._images = ImageTally(measure)
        self._channels: list[Tensor] = []

    def add(self, batch: Batch) -> None:
        channels = divergence_by_channel(*raw_posterior(batch))
        self._images.take(batch, self._measure.of(channels, batch))
        self._channels.append(channels / batch.posterior.mean[0, 0].numel())

    def finish(self) -> Finished:
        found = self._images.finish()
        by_channel = torch.cat(self._channels).mean(0).tolist()
        return Finished(found.values, found.columns, {"kl_channels": by_channel})


@MEASURES.register("posterior_std")
@dataclass(frozen=True)
class PosteriorStd(PerImage):
    """Width of the posterior, in model space and in the VAE's own units."""

    label = "posterior σ"
    span = "0 to ∞"
    needs = ("posterior",)
    positive = True
    formula = (
        "root mean square of σ over cells, channels and images: `posterior_std` in model space, "
        "`posterior_std_raw` before normalization"
    )
    reference = "–"
    evidence = "how precise the encoder is: against a standard deviation of 1 of the latents"
    not_evidence = "how much noise the decoder tolerates; see `noise`"
    oracle = "closed form of a known log-variance"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        logvar = batch.posterior.logvar
        assert logvar is not None
        raw = raw_posterior(batch)[1]
        model, own = (one.double().exp().flatten(1).mean(1) for one in (logvar, raw))
        return {"posterior_std": model, "posterior_std_raw": own}

    def statistic(self, name: str, means: Array) -> Array:
        return np.asarray(np.sqrt(np.maximum(means[..., 0], 0)))


@MEASURES.register("clamped")
@dataclass(frozen=True)
class Clamped(PerImage):
    """Share of log-variances at the ends of the range that diffusers clamps them to."""

    label = "clamped σ"
    bounds = (0.0, 1.0)
    span = "0 to 1"
    needs = ("posterior",)
    formula = "share of log-variances that are −30 or 20, or beyond, before normalization"
    reference = "diffusers' DiagonalGaussianDistribution"
    evidence = "an encoder that has stopped to be variational: σ is what the clamp leaves"
    not_evidence = "bad reconstructions"
    oracle = "counts of a known log-variance"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        raw = raw_posterior(batch)[1].double().flatten(1)
        low, high = CLAMP
        return {"clamp_fraction": ((raw <= low + 1e-3) | (raw >= high - 1e-3)).double().mean(1)}

    def is_share(self, name: str) -> bool:
        return True


@MEASURES.register("active_units")
@dataclass(frozen=True)
class ActiveUnits(Measure):
    """Number of channels whose mean varies from image to image and cell to cell."""

    label = "active channels"
    unit = "channels"
    span = "0 to the number of channels"
    needs = ("latents",)
    formula = "number of channels with Var(μ) > 0.01 in the VAE's own units, over images and cells"
    reference = "Burda et al. 2016"
    evidence = "channels that carry anything"
    not_evidence = "how much they carry: a channel just above the limit counts as one"
    oracle = "NumPy's variance"

    def begin(self, protocol: Protocol) -> Tally:
        return _ActiveTally()


class _ActiveTally(Tally):
    """Moments of the channels over all cells."""

    def __init__(self) -> None:
        self._moments: Moments | None = None
        self._images = 0

    def add(self, batch: Batch) -> None:
        mean = affine_of(batch.vae).from_model(batch.posterior.mean)
        found = Moments.of(mean.movedim(1, 0).flatten(1))
        self._moments = found if self._moments is None else self._moments.merge(found)
        self._images += len(batch)

    def finish(self) -> Finished:
        if self._moments is None or self._images < 2:
            raise TooFewError(self._images, 2)
        variances = self._moments.variance
        count = float((variances > ACTIVE).sum())
        note = f"of {len(variances)} channels"
        curve = {"channel_variances": variances.tolist()}
        return Finished({"active_units": Value(count, n=self._images, note=note)}, curves=curve)
