"""What chance alone would give: the spectrum of noise at the same N and D."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentlab.latents import Spectrum

if TYPE_CHECKING:
    from torch import Tensor


def isotropic_spectrum(n_samples: int, n_features: int) -> Spectrum:
    """Return the spectrum of unit isotropic noise at this N and D, from the Marchenko–Pastur law.

    The n = min(N − 1, D) eigenvalues are the law's quantiles at (i − ½)/n, descending, for
    centered samples; the total variance is D.

    Examples
    --------
    >>> curve = isotropic_spectrum(500, 65536).cumulative
    >>> round(float(curve[49]), 3), round(float(curve[249]), 3)
    (0.115, 0.538)
    """
    import torch

    rank, ratio, scale = _aspect(n_samples, n_features)
    ranks = torch.arange(rank, dtype=torch.float64)
    quantiles = scale * _marchenko_pastur_quantiles(1 - (ranks + 0.5) / rank, ratio)
    # Quantiles at midpoints lose a little of the mean, which is known exactly.
    return Spectrum(
        quantiles * (n_features / quantiles.sum()), float(n_features), n_samples, n_features
    )


def isotropic_edge(n_samples: int, n_features: int) -> float:
    """Return the largest eigenvalue, (1 + √(D/n))², that unit isotropic noise has for large N, D.

    n = N − 1 degrees of freedom. Multiply by the noise variance, total variance / D.
    """
    return (1 + math.sqrt(n_features / (n_samples - 1))) ** 2


def _aspect(n_samples: int, n_features: int) -> tuple[int, float, float]:
    """Return rank, aspect ratio ≤ 1 and the scale of the law's non-zero eigenvalues."""
    freedom = n_samples - 1
    if n_features > freedom:
        return freedom, freedom / n_features, n_features / freedom
    return n_features, n_features / freedom, 1.0


def _marchenko_pastur_quantiles(levels: Tensor, ratio: float) -> Tensor:
    """Return the law's quantiles; x = 1 + y + 2√y cos θ makes its density smooth in θ."""
    import torch

    theta = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    x = 1 + ratio + 2 * math.sqrt(ratio) * theta.cos()
    density = torch.where(x > 0, theta.sin().square() / x.clamp_min(1e-300), 0.0)
    mass = torch.cumulative_trapezoid(density, theta)
    below = 1 - torch.cat([mass.new_zeros(1), mass]) / mass[-1]
    # `below` falls with θ; search wants it rising.
    rising, values = below.flip(0), x.flip(0)
    index = torch.searchsorted(rising, levels).clamp(1, len(rising) - 1)
    span = (rising[index] - rising[index - 1]).clamp_min(1e-300)
    weight = (levels - rising[index - 1]) / span
    return values[index - 1] + weight * (values[index] - values[index - 1])
