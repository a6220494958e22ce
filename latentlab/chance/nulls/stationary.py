"""Stationary surrogates: fields with the samples' statistics, the same at every place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import matrix_of
from latentlab.chance.nulls.scrambled import Block, Columns, Scramble, ScrambledNull
from latentlab.errors import UsageError
from latentlab.latents import Neighborhood, Spectrum
from latentlab.layouts import WholeLayout
from latentlab.linalg.sums import column_moments, rows_in_block
from latentlab.machine.memory import check_memory


@NULLS.register("stationary")
@dataclass(frozen=True)
class Stationary(ScrambledNull):
    """Gaussian fields with the cross-spectrum of the samples' deviations and no other structure.

    The deviations from the mean are fields over the window. At every spatial frequency the
    surrogates have the same C×C cross-spectrum: the same smoothness and the same mixtures of
    channels, but no special place in the image.

    A stationary covariance on the torus is diagonal in frequency, so the eigenvalues of the
    cross-spectra are the variances of independent Gaussian numbers, and N of each give a
    surrogate's Gram matrix without a Fourier transform. Opposite edges of the window count
    as neighbors. Cross-spectra estimated from N samples are a little more uneven than the true
    ones, more so with more channels. The null is therefore conservative: pure noise lies a little
    below it. Source: for series, Prichard and Theiler 1994,
    comp-gas/9405002.
    """

    label = "stationary fields"
    color = "#E69F00"
    has_smooth_fields = True
    default_draws = 50

    def scramble(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> Scramble:
        return _Surrogate(spectrum.n_samples, stationary_variances(samples, spectrum))


class _Surrogate(Scramble):
    """Independent Gaussian columns of these variances."""

    def __init__(self, n_rows: int, variances: Tensor) -> None:
        super().__init__(n_rows, variances)
        self.deviations: Block = variances.sqrt().float().numpy()

    def block(self, columns: Columns, generator: np.random.Generator) -> Block:
        deviations = self.deviations[columns]
        values = generator.standard_normal((len(deviations), self.n_rows), np.float32)
        values *= deviations[:, None]
        return values


def stationary_variances(samples: Neighborhood | Tensor, spectrum: Spectrum) -> Tensor:
    """Return the D eigenvalues, descending, float64, of the nearest stationary covariance.

    They are the eigenvalues of the cross-spectra at all frequencies and sum to the total variance.

    Raises
    ------
    UsageError : the samples are not fields, or are parts of one, whose spectrum depends only on
        the cross-spectrum.
    """
    layout = _field_layout(samples)
    matrix = matrix_of(samples, spectrum)
    channels, height, width = layout.shape[0], layout.window.height, layout.window.width
    half = width // 2 + 1
    check_memory(
        3 * 8 * height * half * channels**2,
        f"the cross-spectra of {channels} channels at {height * half:,} frequencies",
        "choose a smaller --size or a --region, or leave the stationary null out",
    )
    mean = column_moments(matrix)[0].float()
    cross = torch.zeros(height, half, channels, channels, dtype=torch.complex64)
    for rows in torch.split(matrix, rows_in_block(matrix.shape[1])):
        fields = layout.fields(rows.float() - mean)
        waves = torch.fft.rfft2(fields, norm="ortho").permute(2, 3, 0, 1)
        cross += waves.mT @ waves.conj()
    powers = torch.linalg.eigvalsh(cross).clamp_min(0).double() / (spectrum.n_samples - 1)
    # Frequencies to the right of the middle mirror those to its left.
    mirrored = powers[:, 1 : (width + 1) // 2]
    variances = torch.cat([powers.flatten(), mirrored.flatten()]).sort(descending=True).values
    return variances * (spectrum.total_variance / variances.sum())


def _field_layout(samples: Neighborhood | Tensor) -> WholeLayout:
    if not isinstance(samples, Neighborhood):
        raise UsageError(
            "a plain matrix",
            "a neighborhood, whose rows are fields",
            "pass latentlab.neighborhood(...), or leave the stationary null out",
        )
    if not isinstance(samples.layout, WholeLayout):
        raise UsageError(
            f"the stationary null for {samples.layout.kind}",
            "whole latents: the spectrum of parts of one latent follows from its cross-spectrum "
            "alone, so stationary fields have it too",
            "leave the stationary null out",
        )
    return samples.layout
