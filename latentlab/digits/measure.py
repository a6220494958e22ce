"""What a digits model makes of data: codes, losses in nats, active units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.digits.data import Digits
from latentlab.digits.models import DigitsModel
from latentlab.digits.objective import (
    bernoulli_nats,
    count_active,
    kl_nats,
    sample_posterior,
    squared_error,
)

_BATCH = 1000


@dataclass(frozen=True, eq=False)
class Codes:
    """The posteriors of pictures.

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
    """What a model loses on data, averaged over pictures.

    Parameters
    ----------
    reconstruction : float; −E log p(x|z) in nats, or the squared error summed over pixels for an
        autoencoder, which has no likelihood
    kl_per_dimension : KL(q(zⱼ|x) ‖ N(0, 1)) in nats; zeros for an autoencoder
    active_units : how many posterior means have a variance above 0.01 (Burda et al. 2016)
    """

    reconstruction: float
    kl_per_dimension: tuple[float, ...]
    active_units: int

    @property
    def kl(self) -> float:
        """The sum over dimensions, in nats."""
        return sum(self.kl_per_dimension)

    @property
    def total(self) -> float:
        """Reconstruction plus KL, unweighted: the negative ELBO in nats."""
        return self.reconstruction + self.kl

    def describe(self) -> dict[str, object]:
        """Return the figures by name."""
        return {
            "reconstruction": self.reconstruction,
            "kl": self.kl,
            "total": self.total,
            "kl_per_dimension": list(self.kl_per_dimension),
            "active_units": self.active_units,
        }


@torch.no_grad()
def encode_digits(model: DigitsModel, digits: Digits) -> Codes:
    """Return the posteriors of all pictures; of an autoencoder, the codes as means."""
    parts = [
        model.encoder(some.pictures, some.labels) for some in _batches(digits.to(_device_of(model)))
    ]
    mean, logvar = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Codes(mean, logvar, digits.labels.cpu())


@torch.no_grad()
def measure_losses(model: DigitsModel, digits: Digits, *, seed: int = 0) -> Losses:
    """Return the losses on data, with one sample of each posterior drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    reconstruction, kl, means = [], [], []
    for some in _batches(digits.to(_device_of(model))):
        mean, logvar = model.encoder(some.pictures, some.labels)
        means.append(mean)
        if model.config.is_variational:
            kl.append(kl_nats(mean, logvar))
            logits = model.decoder(sample_posterior(mean, logvar, generator), some.labels)
            reconstruction.append(bernoulli_nats(logits, some.pictures))
        else:
            kl.append(torch.zeros_like(mean))
            reconstruction.append(squared_error(model.decoder(mean, some.labels), some.pictures))
    per_dimension = torch.cat(kl).double().mean(0)
    return Losses(
        float(torch.cat(reconstruction).double().mean()),
        tuple(per_dimension.tolist()),
        count_active(torch.cat(means).double().var(0)),
    )


@torch.no_grad()
def reconstruct_digits(model: DigitsModel, digits: Digits) -> Tensor:
    """Return the pictures (N, 1, H, W), in [0, 1], decoded from the posterior means."""
    moved = digits.to(_device_of(model))
    mean, _ = model.encoder(moved.pictures, moved.labels)
    return model.pictures(mean, moved.labels).cpu()


def _batches(digits: Digits) -> Iterator[Digits]:
    pairs = zip(
        torch.split(digits.pictures, _BATCH), torch.split(digits.labels, _BATCH), strict=True
    )
    for pictures, labels in pairs:
        yield Digits(pictures, labels)


def _device_of(model: DigitsModel) -> torch.device:
    return next(model.parameters()).device
