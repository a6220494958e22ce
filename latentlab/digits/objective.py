"""The training objective in nats: reconstruction, divergence from the prior, and its weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from latentlab.digits.checks import check_range
from latentlab.errors import UsageError

OBJECTIVES = ("elbo", "beta-tc")
_LOG_2PI = math.log(2 * math.pi)
ACTIVE_VARIANCE = 0.01
"""A latent is active if its posterior mean varies more than this (Burda et al. 2016)."""


@dataclass(frozen=True)
class Beta:
    """The weight of the KL term, constant or changing linearly at the start of training.

    Parameters
    ----------
    final : float, at least 0; the weight after the change
    start : float, optional; the weight in the first epoch: 0 warms up, more than ``final`` anneals
    epochs : int; ``final`` is reached after this many epochs

    Raises
    ------
    UsageError : a weight outside 0 to 10,000, or one of ``start`` and ``epochs`` without the other.

    Examples
    --------
    >>> [Beta(4.0, start=0.0, epochs=4).at(epoch) for epoch in range(6)]
    [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    """

    final: float = 1.0
    start: float | None = None
    epochs: int = 0

    def __post_init__(self) -> None:
        check_range("--beta", self.final, 0, 10_000, example=4)
        check_range("--beta-start", self.start or 0.0, 0, 10_000, example=0)
        if self.epochs < 0 or (self.start is not None) != (self.epochs > 0):
            raise UsageError(
                f"--beta-start {self.start} with --beta-epochs {self.epochs}",
                "both or neither",
                "pass, for example, --beta-start 0 --beta-epochs 10",
            )

    def at(self, epoch: int) -> float:
        """Return the weight in an epoch, counted from 0."""
        if self.start is None or epoch >= self.epochs:
            return self.final
        return self.start + (self.final - self.start) * epoch / self.epochs


def bernoulli_nats(logits: Tensor, images: Tensor) -> Tensor:
    """Return −log p(x|z) in nats (B,): Bernoulli pixels, gray values taken as probabilities.

    Parameters
    ----------
    logits, images : Tensor, (B, 1, H, W); images in [0, 1]

    Examples
    --------
    >>> bernoulli_nats(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)) / math.log(2)
    tensor([4.])
    """
    nats = functional.binary_cross_entropy_with_logits(logits, images, reduction="none")
    return nats.flatten(1).sum(1)


def squared_error(logits: Tensor, images: Tensor) -> Tensor:
    """Return the squared error (B,), summed over pixels: an autoencoder's reconstruction loss."""
    return (torch.sigmoid(logits) - images).square().flatten(1).sum(1)


def kl_nats(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(q(z|x) ‖ N(0, 1)) in nats, by image and dimension (B, L).

    Examples
    --------
    >>> kl_nats(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2))
    tensor([[0.0000, 0.5000]])
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


def total_correlation(z: Tensor, mean: Tensor, logvar: Tensor, count: int) -> Tensor:
    """Return an estimate, in nats, of KL(q(z) ‖ Πⱼ q(zⱼ)) from one batch.

    Minibatch-weighted sampling, equation 10 of Chen et al. 2018 (β-TCVAE). It serves training
    and is no measurement: for independent dimensions, where the truth is 0, it is (L − 1) ln(count)
    if the posteriors are the prior, and rises to (L − 1) ln(B · count) as they narrow. With L = 4
    and 60,000 images, 33 to 48 nats. A constant has no gradient.

    Parameters
    ----------
    z : Tensor, (B, L), one sample of each posterior
    mean, logvar : Tensor, (B, L), the posteriors
    count : int, size of the whole training set
    """
    deviation = (z[:, None] - mean[None]).square() * (-logvar).exp()[None]
    log_densities = -0.5 * (_LOG_2PI + logvar[None] + deviation)
    log_pairs = math.log(len(z) * count)
    joint = log_densities.sum(2).logsumexp(1) - log_pairs
    product = (log_densities.logsumexp(1) - log_pairs).sum(1)
    return (joint - product).mean()


def sample_posterior(mean: Tensor, logvar: Tensor, generator: torch.Generator) -> Tensor:
    """Return z = μ + σ ε (B, L), with ε drawn on the generator's device."""
    noise = torch.randn(mean.shape, generator=generator, device=generator.device)
    return mean + (0.5 * logvar).exp() * noise.to(mean)


def active_latents(means: Tensor) -> Tensor:
    """Return which latents (L,) are active, given posterior means (N, L); the rest collapsed."""
    return means.var(0) > ACTIVE_VARIANCE
