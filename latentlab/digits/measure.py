"""What a digits model computes from data: codes, losses in nats, active units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.digits import objective
from latentlab.digits.data import Digits
from latentlab.digits.models import DigitsModel

_BATCH = 1000


@dataclass(frozen=True, eq=False)
class Codes:
    """The posteriors of images.

    Parameters
    ----------
    mean, logvar : Tensor, (N, L), float32, on the CPU
    labels : Tensor, (N,), int64
    """

    mean: Tensor
    logvar: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Losses:
    """The losses of a model on data, averaged over images.

    Parameters
    ----------
    reconstruction : float; −E log p(x|z) in nats, or the squared error summed over pixels for an
        autoencoder, which has no likelihood
    kl : float, the sum of ``kl_per_dimension``
    total : float, reconstruction plus KL, unweighted: the negative ELBO in nats
    kl_per_dimension : KL(q(zⱼ|x) ‖ N(0, 1)) in nats; zeros for an autoencoder
    active_units : int, how many posterior means have a variance above 0.01 (Burda et al. 2016)
    """

    reconstruction: float
    kl: float
    total: float
    kl_per_dimension: list[float]
    active_units: int


@torch.no_grad()
def encode_digits(model: DigitsModel, digits: Digits) -> Codes:
    """Return the posteriors of all images; an autoencoder's codes are the means."""
    parts = [model.encoder(some.images, some.labels) for some in _batches(model, digits)]
    mean, logvar = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Codes(mean, logvar, digits.labels.cpu())


@torch.no_grad()
def measure_losses(model: DigitsModel, digits: Digits, *, seed: int = 0) -> Losses:
    """Return the losses on data, with one sample of each posterior drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    parts = [image_losses(model, some, generator) for some in _batches(model, digits)]
    columns = [torch.cat(column).double() for column in zip(*parts, strict=True)]
    means, _, _, nats, divergences = columns
    reconstruction, per_dimension = float(nats.mean()), divergences.mean(0).tolist()
    kl = sum(per_dimension)
    active = int(objective.active_latents(means).sum())
    return Losses(reconstruction, kl, reconstruction + kl, per_dimension, active)


def image_losses(
    model: DigitsModel, digits: Digits, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return mean, logvar and a sample z of each posterior (B, L), reconstruction (B,), KL (B, L).

    In nats. For an autoencoder, z is the mean, the reconstruction loss is the squared error, and
    the KL is 0.
    """
    mean, logvar = model.encoder(digits.images, digits.labels)
    if not model.config.is_variational:
        logits = model.decoder(mean, digits.labels)
        error = objective.squared_error(logits, digits.images)
        return mean, logvar, mean, error, torch.zeros_like(mean)
    z = objective.sample_posterior(mean, logvar, generator)
    nats = objective.bernoulli_nats(model.decoder(z, digits.labels), digits.images)
    return mean, logvar, z, nats, objective.kl_nats(mean, logvar)


@torch.no_grad()
def reconstruct_digits(model: DigitsModel, digits: Digits) -> Tensor:
    """Return the images (N, 1, H, W), in [0, 1], decoded from the posterior means."""
    moved = digits.to(model.device)
    mean, _ = model.encoder(moved.images, moved.labels)
    return model.images(mean, moved.labels).cpu()


def center_and_spread(model: DigitsModel, codes: Codes) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the latents to decode, both (L,).

    0 and 1, the prior's, for a variational model. An autoencoder has no prior: its codes' own.
    """
    if model.config.is_variational:
        return torch.zeros(model.config.latent), torch.ones(model.config.latent)
    return codes.mean.mean(0), codes.mean.std(0)


def draw_latents(
    model: DigitsModel, codes: Codes, count: int, *, scale: float = 1.0, seed: int = 0
) -> Tensor:
    """Return latents (count, L) drawn from the prior, or from a normal fitted to the codes.

    Parameters
    ----------
    scale : float; the standard deviation is multiplied by it
    """
    generator = torch.Generator().manual_seed(seed)
    center, spread = center_and_spread(model, codes)
    noise = torch.randn(count, model.config.latent, generator=generator)
    return center + scale * spread * noise


def _batches(model: DigitsModel, digits: Digits) -> Iterator[Digits]:
    """Yield the digits in batches, on the model's device."""
    moved = digits.to(model.device)
    for start in range(0, len(moved), _BATCH):
        yield moved[start : start + _BATCH]
