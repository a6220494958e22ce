"""Samples whose structure is known because it was planted: spectra, fields, neighborhoods."""

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
    """Return noise (N, D) with components in random directions, above the detection edge.

    The edge is √(D/N) times the noise variance, added along a direction (Baik, Ben Arous and Péché,
    math/0403022). Weaker components cannot be told from noise, whatever the method.

    Parameters
    ----------
    n_samples, n_features : int, N and D
    count : int, components
    times : float, strength of each, in edges
    seed : int

    Examples
    --------
    >>> spikes(100, 50, count=2, times=3).shape
    torch.Size([100, 50])
    """
    generator = torch.Generator().manual_seed(1000 + seed)
    directions = torch.linalg.qr(torch.randn(n_features, count, generator=generator))[0]
    scores = torch.randn(n_samples, count, generator=generator)
    strength = math.sqrt(times * math.sqrt(n_features / n_samples))
    planted: Tensor = noise(n_samples, n_features, seed) + strength * scores @ directions.T
    return planted


def rotated(samples: Tensor, seed: int = 0) -> Tensor:
    """Return samples in a space that was turned at random."""
    size = samples.shape[1]
    turned: Tensor = samples @ torch.linalg.qr(noise(size, size, seed))[0]
    return turned


def fields(n_samples: int, shape: tuple[int, int, int], power: float, seed: int = 0) -> Tensor:
    """Return stationary Gaussian fields (n_samples, C, h, w) on the torus.

    Their power falls as 1/f^power. The mean of each is 0, and channels are independent.

    Examples
    --------
    >>> fields(4, (3, 8, 10), power=2).shape
    torch.Size([4, 3, 8, 10])
    """
    white = torch.randn(n_samples, *shape, generator=torch.Generator().manual_seed(seed))
    down = torch.fft.fftfreq(shape[1])[:, None]
    across = torch.fft.rfftfreq(shape[2])[None]
    frequency = (down**2 + across**2).sqrt()
    frequency[0, 0] = math.inf
    waves = torch.fft.rfft2(white) * frequency ** (-power / 2)
    smooth: Tensor = torch.fft.irfft2(waves, s=shape[1:])
    return smooth


def whole(latents: Tensor, name: str = "planted") -> Neighborhood:
    """Return latents (n, C, h, w) as a neighborhood of whole latents.

    Examples
    --------
    >>> whole(fields(4, (3, 8, 10), power=2))
    Neighborhood('planted' of 'latent', N = 4, D = 240)
    """
    channels, height, width = latents.shape[1:]
    layout = WholeLayout((channels, height, width), Window(0, 0, height, width))
    origin = Latent(latents.mean(0), LatentSpec("planted", channels, 8))
    return hood_of(layout.flatten(latents), origin, layout, name)


def hood_of(
    rows: Tensor, origin: Latent, layout: Layout, name: str = "planted", **how: Any
) -> Neighborhood:
    """Return rows as a neighborhood of a latent.

    Parameters
    ----------
    rows : Tensor, (n_samples, n_features)
    origin : Latent
    layout : Layout that lifts the rows
    name : str, of the sampler that they are said to come from
    **how : other fields of :class:`latentlab.latents.Sampling`, such as ``factors``
    """
    return Neighborhood(rows, Sampling(name, layout, origin, **how))
