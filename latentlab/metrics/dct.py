"""The two-dimensional cosine transform: where in frequency the energy of images and latents is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BINS = 16
"""Rings of equal width in which a radial profile is averaged."""


def dct2(values: Tensor) -> Tensor:
    """Return the orthonormal DCT-II over the last two axes (…, H, W), float64.

    Examples
    --------
    >>> import torch
    >>> dct2(torch.ones(2, 2)).round(decimals=12).abs().tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    height, width = values.shape[-2:]
    return _basis(height) @ values.double() @ _basis(width).T


def low_pass(values: Tensor, share: float) -> Tensor:
    """Return values (…, H, W) without the frequencies u + v > share · (H + W − 2).

    Examples
    --------
    >>> import torch
    >>> torch.allclose(low_pass(torch.eye(3), 0.0), torch.full((3, 3), 1 / 3))
    True
    """
    height, width = values.shape[-2:]
    kept = dct2(values) * ~_above(height, width, share)
    back = _basis(height).T @ kept @ _basis(width)
    return back.to(values.dtype)


def high_energy(values: Tensor, shares: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return energy above each share of the frequencies, all energy, and that of the mean.

    Parameters
    ----------
    values : Tensor, (n, C, H, W)
    shares : ρ, between 0 and 1: counted are the frequencies u + v > ρ (H + W − 2)

    Returns
    -------
    high (n, C, len(shares)), whole (n, C), mean (n, C), float64; ``mean`` is the signed amplitude
    of the frequency 0, so that the mean of a channel can be removed afterwards

    Examples
    --------
    >>> import torch
    >>> high, whole, mean = high_energy(torch.ones(1, 1, 4, 4), (0.25,))
    >>> round(float(whole), 6), round(float(mean), 6)
    (16.0, 4.0)
    """
    import torch

    height, width = values.shape[-2:]
    amplitudes = dct2(values)
    energy = amplitudes.square()
    high = [(energy * _above(height, width, share)).sum((2, 3)) for share in shares]
    return torch.stack(high, -1), energy.sum((2, 3)), amplitudes[..., 0, 0]


def share_of_cells(height: int, width: int, share: float) -> float:
    """Return the share of frequencies above ρ: what white noise has there.

    Examples
    --------
    >>> share_of_cells(2, 2, 0.5)
    0.25
    """
    return float(_above(height, width, share).double().mean())


def profiles(values: Tensor, bins: int = BINS) -> tuple[Tensor, Tensor]:
    """Return :func:`radial_profile` and :func:`zigzag_profile` (n, bins) of one transform.

    Examples
    --------
    >>> import torch
    >>> radial, zigzag = profiles(torch.eye(8).view(1, 1, 8, 8))
    >>> radial.shape, zigzag.shape
    (torch.Size([1, 16]), torch.Size([1, 16]))
    """
    energy = _energy(values)
    return _radial(energy, bins), _zigzag(energy, bins)


def _energy(values: Tensor) -> Tensor:
    """Return the mean energy (n, H, W) of the channels of values (n, C, H, W) by frequency."""
    return dct2(values).square().mean(1)


def radial_profile(values: Tensor, bins: int = BINS) -> Tensor:
    """Return the mean energy (n, bins), float64, of values (n, C, H, W) in rings of frequency.

    Frequencies are relative to the highest along an axis, so that images and latents of other
    sizes have the same rings. The mean of each channel, frequency 0, is left out. Rings without a
    frequency are NaN.

    Examples
    --------
    >>> import torch
    >>> noise = torch.randn(4, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> bool((radial_profile(noise).mean(0) - 1).abs().max() < 0.3)
    True
    """
    return _radial(_energy(values), bins)


def _radial(energy: Tensor, bins: int) -> Tensor:
    import torch

    ring = _rings(*energy.shape[-2:], bins)
    counts = torch.bincount(ring, minlength=bins)[:bins].double()
    sums = _summed(energy, ring, bins + 1)[:, :bins]
    return sums / counts.where(counts > 0, torch.nan)


def zigzag_profile(values: Tensor, bins: int = BINS) -> Tensor:
    """Return the share of energy (n, bins), float64, along the diagonals u + v, low to high.

    Values (n, C, H, W); the mean of each channel is left out, and shares sum to 1.

    Examples
    --------
    >>> import torch
    >>> zigzag_profile(torch.arange(16.0).view(1, 1, 4, 4), 2).sum().item()
    1.0
    """
    return _zigzag(_energy(values), bins)


def _zigzag(energy: Tensor, bins: int) -> Tensor:
    sums = _summed(energy, _diagonals(*energy.shape[-2:], bins), bins + 1)[:, :bins]
    return sums / sums.sum(1, keepdim=True)


def _summed(energy: Tensor, place: Tensor, count: int) -> Tensor:
    """Return the sums (n, count) of energies (n, H, W) in the places (H·W,) of frequencies."""
    import torch

    return torch.stack([torch.bincount(place, one.flatten(), count) for one in energy])


def slopes(profile: Tensor) -> Tensor:
    """Return the log–log slope (n,) of radial profiles (n, bins) against frequency.

    White noise has 0, natural images about −2. The last ring, which corners of the plane do not
    fill, is left out.

    Examples
    --------
    >>> import torch
    >>> rings = (torch.arange(16) + 0.5).double()
    >>> round(float(slopes(rings[None] ** -2)), 6)
    -2.0
    """
    import torch

    bins = profile.shape[1]
    x = (torch.arange(bins).double() + 0.5).log()[:-1]
    known = profile[:, :-1].isfinite().all(0)
    x, y = x[known], profile[:, :-1][:, known].clamp_min(1e-300).log()
    x = x - x.mean()
    found: Tensor = (y * x).sum(1) / x.square().sum()
    return found


@cache
def _basis(length: int) -> Tensor:
    """Return the orthonormal DCT-II matrix (length, length), float64."""
    import torch

    k = torch.arange(length, dtype=torch.float64)
    basis = torch.cos(torch.pi * k[:, None] * (k[None] + 0.5) / length) * (2 / length) ** 0.5
    basis[0] /= 2**0.5
    return torch.as_tensor(basis)


@cache
def _above(height: int, width: int, share: float) -> Tensor:
    import torch

    diagonal = torch.arange(height)[:, None] + torch.arange(width)[None]
    above: Tensor = diagonal > share * (height + width - 2) + 1e-9
    return above


@cache
def _rings(height: int, width: int, bins: int) -> Tensor:
    """Return the ring (H·W,) of each frequency; ``bins`` for those in none."""
    import torch

    down = torch.arange(height).double()[:, None] / height
    across = torch.arange(width).double()[None] / width
    radius = (down.square() + across.square()).sqrt()
    ring = (radius * bins).long().clamp_max(bins)
    ring[0, 0] = bins
    return ring.flatten()


@cache
def _diagonals(height: int, width: int, bins: int) -> Tensor:
    """Return the bin (H·W,) of each frequency's diagonal u + v; ``bins`` for frequency 0."""
    import torch

    diagonal = torch.arange(height)[:, None] + torch.arange(width)[None]
    place = (diagonal * bins // (height + width - 1)).flatten()
    place[0] = bins
    return place
