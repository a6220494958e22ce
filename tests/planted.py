"""Samples whose structure is known because it was planted."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latentlab.latents import Latent, LatentSpec, Neighborhood, Sampling
from latentlab.layouts import Layout, WholeLayout, Window


def noise(n_samples: int, n_features: int, seed: int = 0) -> Tensor:
    """Return isotropic noise (n_samples, n_features) of unit variance."""
    return torch.randn(n_samples, n_features, generator=torch.Generator().manual_seed(seed))


def spikes(n_samples: int, n_features: int, count: int, times: float, seed: int = 0) -> Tensor:
    """Return noise with components in random directions, at a multiple of the detection edge.

    The edge is √(D/N) times the noise variance, added along a direction.
    """
    generator = torch.Generator().manual_seed(1000 + seed)
    directions = torch.linalg.qr(torch.randn(n_features, count, generator=generator))[0]
    scores = torch.randn(n_samples, count, generator=generator)
    strength = math.sqrt(times * math.sqrt(n_features / n_samples))
    return noise(n_samples, n_features, seed) + strength * scores @ directions.T


def rotated(samples: Tensor, seed: int = 0) -> Tensor:
    """Return samples in a space that was turned at random."""
    size = samples.shape[1]
    return samples @ torch.linalg.qr(noise(size, size, seed))[0]


def fields(n_samples: int, shape: tuple[int, int, int], power: float, seed: int = 0) -> Tensor:
    """Return Gaussian fields (n_samples, C, h, w) on the torus whose power falls as 1/f^power."""
    white = torch.randn(n_samples, *shape, generator=torch.Generator().manual_seed(seed))
    down = torch.fft.fftfreq(shape[1])[:, None]
    across = torch.fft.rfftfreq(shape[2])[None]
    frequency = (down**2 + across**2).sqrt()
    frequency[0, 0] = math.inf
    return torch.fft.irfft2(torch.fft.rfft2(white) * frequency ** (-power / 2), s=shape[1:])


def whole(latents: Tensor, name: str = "planted") -> Neighborhood:
    """Return latents (n, C, h, w) as a neighborhood of whole latents."""
    channels, height, width = latents.shape[1:]
    layout = WholeLayout((channels, height, width), Window(0, 0, height, width))
    origin = Latent(latents.mean(0), LatentSpec("planted", channels, 8))
    return hood_of(layout.flatten(latents), origin, layout, name)


def hood_of(
    rows: Tensor, origin: Latent, layout: Layout, name: str = "planted", **how: Any
) -> Neighborhood:
    """Return rows as a neighborhood of a latent."""
    return Neighborhood(rows, Sampling(name, layout, origin, **how))
