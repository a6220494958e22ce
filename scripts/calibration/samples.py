"""Samples whose truth is known: fields on windows and tori, and rows of several distributions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentlab.latents import Latent, LatentSpec, Neighborhood, Sampling
from latentlab.layouts import WholeLayout, Window


def generator_of(seed: int) -> torch.Generator:
    """Return a generator of this seed."""
    return torch.Generator().manual_seed(seed)


def gaussian(n_samples: int, n_features: int, seed: int) -> Tensor:
    """Return isotropic Gaussian rows (n_samples, n_features) of unit variance."""
    return torch.randn(n_samples, n_features, generator=generator_of(seed))


def power_law(n_features: int, power: float) -> Tensor:
    """Return the eigenvalues k^−power (n_features,), float64."""
    return torch.arange(1, n_features + 1, dtype=torch.float64) ** -power


def rows_of(kind: str, n_samples: int, eigenvalues: Tensor, seed: int) -> Tensor:
    """Return rows (N, D) whose covariance has these eigenvalues.

    Parameters
    ----------
    kind : ``"Gaussian"``; ``"t5"``, elliptical rows; ``"AR(.5)"``, Gaussian rows in which each is
        half of the one before it
    """
    generator = generator_of(seed)
    rows = torch.randn(n_samples, len(eigenvalues), generator=generator)
    if kind == "t5":
        chi2 = torch.randn(n_samples, 5, generator=generator).square().sum(1)
        rows *= (3 / chi2).sqrt()[:, None]
    elif kind.startswith("AR("):
        past = float(kind[3:-1])
        for index in range(1, n_samples):
            rows[index] = past * rows[index - 1] + math.sqrt(1 - past**2) * rows[index]
    return rows * eigenvalues.float().sqrt()


def stationary_fields(
    n_samples: int, channels: int, side: int, power: float, seed: int, *, window: bool
) -> Neighborhood:
    """Return Gaussian fields of power 1/f^power as a neighborhood of whole latents.

    On a window of a torus three times as large, or on the whole torus. Channels are mixed at
    random.
    """
    generator = generator_of(seed)
    size = 3 * side if window else side
    down, across = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    frequency = (down**2 + across**2).sqrt()
    frequency[0, 0] = math.inf
    fields = torch.randn(n_samples, channels, size, size, generator=generator)
    waves = torch.fft.rfft2(fields) * frequency ** (-power / 2)
    fields = torch.fft.irfft2(waves, s=(size, size))[..., :side, :side]
    mixed = torch.randn(channels, channels, generator=generator)
    return as_latents(torch.einsum("dc,nchw->ndhw", mixed, fields))


def as_latents(latents: Tensor, name: str = "simulated") -> Neighborhood:
    """Return latents (n, C, h, w) as a neighborhood of whole latents."""
    channels, height, width = latents.shape[1:]
    layout = WholeLayout((channels, height, width), Window(0, 0, height, width))
    origin = Latent(latents.mean(0), LatentSpec(name, channels, 8))
    return Neighborhood(layout.flatten(latents), Sampling(name, layout, origin))
