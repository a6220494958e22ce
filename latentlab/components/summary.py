"""Numbers that summarize a spectrum of principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.metrics.spectrum import (
    components_for,
    fit_curve,
    participation_ratio,
    participation_ratio_corrected,
)

if TYPE_CHECKING:
    from latentlab.latents import Spectrum


def summarize_spectrum(spectrum: Spectrum) -> dict[str, float | int | None]:
    """Return k50, k90, k95 and k99, participation ratios and the R² of both fits, by name.

    Ratios and fits are None for a partial spectrum, where they could not be compared.
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
