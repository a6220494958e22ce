"""Numbers that summarize an eigenvalue spectrum.

None of them measures entanglement: all are unchanged when the latent space is rotated.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.latents import Spectrum


def participation_ratio(explained_variance: Tensor) -> float:
    """Return (Σλ)²/Σλ², the effective number of dimensions, between 1 and the rank.

    Examples
    --------
    >>> import torch
    >>> participation_ratio(torch.tensor([2.0, 2.0, 2.0, 0.0]))
    3.0
    """
    return float(explained_variance.sum() ** 2 / explained_variance.square().sum())


def participation_ratio_corrected(explained_variance: Tensor, n_samples: int) -> float:
    """Return the participation ratio freed of the bias of n_samples samples."""
    return remove_sampling_bias(participation_ratio(explained_variance), n_samples)


def remove_sampling_bias(ratio: float, n_samples: int) -> float:
    """Return the participation ratio that endless samples would have, from that of n_samples.

    With n = n_samples − 1, isotropic noise in D dimensions has 1/PR = 1/n + 1/D up to 1/(nD), so
    PR_c = (1 + 1/n) / (1/PR − 1/n). Infinite where the samples show no structure at all.
    """
    freedom = n_samples - 1
    excess = 1 / ratio - 1 / freedom
    return (1 + 1 / freedom) / excess if excess > 1e-12 else math.inf


def components_for(cumulative: Tensor, fraction: float) -> int | None:
    """Return the smallest k whose first k components hold this fraction of the variance.

    None where even all known components together hold less.
    """
    # A rounding error in the last digit must not cost a component.
    reached = (cumulative >= fraction - 1e-12).nonzero()
    return int(reached[0]) + 1 if len(reached) else None


def fit_curve(cumulative: Tensor, *, logarithmic: bool) -> tuple[float, float, float]:
    """Return intercept, slope and R² of cumulative variance against k, or against ln k.

    Parameters
    ----------
    cumulative : Tensor, (n,), cumulative explained variance of the first k = 1…n components
    logarithmic : bool, fit ``a + b ln k`` instead of ``a + b k``

    Notes
    -----
    Isotropic noise alone reaches a logarithmic R² of .78 to .93: compare with its curve.
    """
    import torch

    k = torch.arange(1, len(cumulative) + 1, dtype=torch.float64)
    x = k.log() if logarithmic else k
    y = cumulative.double()
    if len(y) < 3 or y.std() == 0:
        return float(y.mean()), 0.0, math.nan
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    intercept = y.mean() - slope * x.mean()
    residual = (y - intercept - slope * x).square().sum()
    return float(intercept), float(slope), float(1 - residual / (y - y.mean()).square().sum())


def summarize_spectrum(spectrum: Spectrum) -> dict[str, float | int | None]:
    """Return k50/k90/k95/k99, participation ratios and the R² of both fits, by name.

    Ratios and fits are None for a spectrum of which only the leading part is known: they are
    comparable with nothing.
    """
    variances, cumulative = spectrum.explained_variance, spectrum.cumulative
    facts: dict[str, float | int | None] = dict.fromkeys(
        ("participation_ratio", "participation_ratio_corrected", "log_fit_r2", "linear_fit_r2")
    )
    if spectrum.is_complete:
        facts = {
            "participation_ratio": participation_ratio(variances),
            "participation_ratio_corrected": participation_ratio_corrected(
                variances, spectrum.n_samples
            ),
            "log_fit_r2": fit_curve(cumulative, logarithmic=True)[2],
            "linear_fit_r2": fit_curve(cumulative, logarithmic=False)[2],
        }
    for percent in (50, 90, 95, 99):
        facts[f"k{percent}"] = components_for(cumulative, percent / 100)
    return facts
