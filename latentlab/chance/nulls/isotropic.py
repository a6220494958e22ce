"""Isotropic noise at the same N, D and total variance, from the Marchenko–Pastur law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import Null, NullModel, check_size
from latentlab.latents import Neighborhood, Spectrum

# Quantiles of the Tracy–Widom law for real symmetric matrices. Source: Johnstone 2001, table 1.
_TRACY_WIDOM_95 = 0.9793
_TRACY_WIDOM_99 = 2.0234


@NULLS.register("isotropic")
@dataclass(frozen=True)
class Isotropic(NullModel):
    """Noise of equal variance in all D dimensions, known analytically: nothing is drawn.

    The threshold is the 99 % quantile of the largest eigenvalue, so at most five of a hundred
    neighborhoods of pure noise show a component, with near certainty.
    """

    label = "isotropic noise"
    counts = 1
    phrase = "above chance (isotropic noise)"

    def draw(self, samples: Neighborhood | Tensor, spectrum: Spectrum, **_: Any) -> Null:
        return isotropic_null(spectrum)

    def seconds(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> float:
        return 0.0


def isotropic_null(spectrum: Spectrum) -> Null:
    """Return isotropic noise at a spectrum's N, D and total variance."""
    check_size(spectrum)
    n_samples, n_features = spectrum.n_samples, spectrum.n_features
    noise = spectrum.total_variance / n_features
    expected = noise * isotropic_spectrum(n_samples, n_features).explained_variance
    quantile, threshold = (
        noise * isotropic_largest(n_samples, n_features, level)
        for level in (_TRACY_WIDOM_95, _TRACY_WIDOM_99)
    )
    return Null(
        model=Isotropic(),
        spectra=expected[None],
        total_variance=spectrum.total_variance,
        largest_quantile=quantile,
        threshold=threshold,
        draws=0,
    )


def noise_nulls(spectrum: Spectrum) -> list[Null]:
    """Return the null of isotropic noise, or none for two samples, which have one component."""
    return [] if spectrum.n_samples < 3 else [isotropic_null(spectrum)]


def isotropic_largest(
    n_samples: int, n_features: int, tracy_widom: float = _TRACY_WIDOM_95
) -> float:
    """Return a quantile of the largest eigenvalue of unit isotropic noise at these N and D.

    Parameters
    ----------
    tracy_widom : float, the same quantile of the Tracy–Widom law; by default 95 %

    Notes
    -----
    Johnstone 2001 with the finite-size corrections of Ma 2012, Bernoulli 18, 322; good to a
    percent of probability from N, D ≈ 10 on. At most the total variance, D.

    Examples
    --------
    >>> isotropic_edge(256, 4096) < isotropic_largest(256, 4096) < 1.02 * isotropic_edge(256, 4096)
    True
    """
    freedom = n_samples - 1
    rows, columns = math.sqrt(freedom - 0.5), math.sqrt(n_features - 0.5)
    center = (rows + columns) ** 2
    scale = (rows + columns) * math.cbrt(1 / rows + 1 / columns)
    return min((center + tracy_widom * scale) / freedom, float(n_features))


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
    rank, ratio, scale = _aspect(n_samples, n_features)
    ranks = torch.arange(rank, dtype=torch.float64)
    quantiles = scale * _marchenko_pastur_quantiles(1 - (ranks + 0.5) / rank, ratio)
    # The mean of these quantiles is a little too small; the exact one is known.
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
    theta = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    x = 1 + ratio + 2 * math.sqrt(ratio) * theta.cos()
    density = torch.where(x > 0, theta.sin().square() / x.clamp_min(1e-300), 0.0)
    mass = torch.cumulative_trapezoid(density, theta)
    below = 1 - torch.cat([mass.new_zeros(1), mass]) / mass[-1]
    # `below` falls with θ, but searchsorted needs rising values.
    rising, values = below.flip(0), x.flip(0)
    index = torch.searchsorted(rising, levels).clamp(1, len(rising) - 1)
    span = (rising[index] - rising[index - 1]).clamp_min(1e-300)
    weight = (levels - rising[index - 1]) / span
    return values[index - 1] + weight * (values[index] - values[index - 1])
