"""Stationary surrogates: fields with the samples' statistics, the same at every place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import matrix_of
from latentlab.chance.nulls.scrambled import (
    Block,
    Columns,
    Scramble,
    ScrambledNull,
    estimate_seconds,
    pays_in_rounds,
)
from latentlab.errors import UsageError
from latentlab.latents import Neighborhood, Spectrum
from latentlab.layouts import WholeLayout
from latentlab.linalg.sums import column_moments, rows_in_block
from latentlab.machine.memory import check_memory

_CROSS = 1e-10  # seconds to multiply two waves, measured
_LARGEST_BLOCK = 1536  # its eigenvalues take about a second


@NULLS.register("stationary")
@dataclass(frozen=True)
class Stationary(ScrambledNull):
    """Gaussian fields with the autocovariance of the samples' deviations and no other structure.

    The deviations from the mean are fields over the window. The surrogates' covariance depends
    only on channels and on the offset between two places, as the samples' does on average: the
    same smoothness and the same mixtures of channels, but no special place in the image. Opposite
    edges of the window are not neighbors.

    The autocovariance is estimated from N samples, so the null is a little more uneven than the
    true fields, more so with more channels, and therefore conservative. Source: for series,
    Prichard and Theiler 1994, comp-gas/9405002; here with a block-Toeplitz covariance.
    """

    label = "stationary fields"
    color = "#E69F00"
    has_smooth_fields = True
    default_draws = 50

    def scramble(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> Scramble:
        return _Surrogate(spectrum.n_samples, stationary_variances(samples, spectrum))

    def seconds(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> float:
        layout = _field_layout(samples)
        matrix_of(samples, spectrum)
        frequencies = _frequencies(layout)
        rows, columns, channels = spectrum.n_samples, spectrum.n_features, layout.shape[0]
        in_rounds = pays_in_rounds(rows, columns)
        drawing = estimate_seconds(rows, columns, self.default_draws, in_rounds=in_rounds)
        return drawing + _CROSS * rows * channels**2 * frequencies


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

    The sample covariance averaged over all pairs of places with the same offset is block-Toeplitz.
    Its eigenvalues are those of its leading block in the basis of cosines (DCT-II), which nearly
    diagonalizes smooth Toeplitz covariances, and of C×C blocks for the other frequencies. They are
    moved to the nearest ones that are not negative and sum to the total variance.

    Raises
    ------
    UsageError : the samples are not fields, or are parts of one, whose spectrum depends only on
        the autocovariance.
    """
    layout = _field_layout(samples)
    matrix = matrix_of(samples, spectrum)
    lags = _autocovariance(matrix, layout) / (spectrum.n_samples - 1)
    height, width = layout.window.height, layout.window.width
    down, across = _cosines(height), _cosines(width)
    side = max(1, math.isqrt(_LARGEST_BLOCK // layout.shape[0]))
    rows, columns = min(side, height), min(side, width)
    leading = _in_basis(lags, down[:rows], across[:columns])
    single = torch.einsum(
        "cdyx,yk,xl->klcd", lags, _offsets(down, diagonal=True), _offsets(across, diagonal=True)
    )
    outside = torch.ones(height, width, dtype=torch.bool)
    outside[:rows, :columns] = False
    values = [torch.linalg.eigvalsh(part).flatten() for part in (leading, single[outside])]
    return _nearest_variances(torch.cat(values).double(), spectrum.total_variance)


def _autocovariance(matrix: Tensor, layout: WholeLayout) -> Tensor:
    """Return Σ z_c(x + τ) z_d(x), averaged over the places x, for all offsets τ.

    (C, C, 2·height − 1, 2·width − 1), float32, from the most negative offset on, summed over
    samples.
    """
    channels, height, width = layout.shape[0], layout.window.height, layout.window.width
    size = (2 * height, 2 * width)
    _frequencies(layout)
    mean = column_moments(matrix)[0].float()
    cross = torch.zeros(size[0], width + 1, channels, channels, dtype=torch.complex64)
    for rows in torch.split(matrix, rows_in_block(4 * matrix.shape[1])):
        # Padding with zeros keeps opposite edges apart.
        waves = torch.fft.rfft2(layout.fields(rows.float() - mean), s=size).permute(2, 3, 0, 1)
        cross += waves.mT @ waves.conj()
    sums: Tensor = torch.fft.irfft2(cross.permute(2, 3, 0, 1), s=size)
    sums = sums.roll((height - 1, width - 1), (2, 3))[..., :-1, :-1]
    down, across = (side - torch.arange(1 - side, side).abs() for side in (height, width))
    averages: Tensor = sums / torch.outer(down, across)
    return averages


def _frequencies(layout: WholeLayout) -> int:
    """Return how many frequencies the padded fields have, if there is memory for them."""
    channels, height, width = layout.shape[0], layout.window.height, layout.window.width
    count = 2 * height * (width + 1)
    check_memory(
        4 * 8 * count * channels**2,
        f"the cross-spectra of {channels} channels at {count:,} frequencies",
        "choose a smaller --size or a --region, or leave the stationary null out",
    )
    return count


def _cosines(length: int) -> Tensor:
    """Return the orthonormal cosines (length, length) of the DCT-II, the slowest first."""
    place = torch.arange(length, dtype=torch.float64) + 0.5
    basis: Tensor = torch.cos(math.pi / length * torch.outer(torch.arange(length), place))
    return torch.nn.functional.normalize(basis, dim=1).float()


def _offsets(basis: Tensor, *, diagonal: bool = False) -> Tensor:
    """Return Σ_x b_k(x + τ) b_l(x), (offsets, k, l), or (offsets, k) for l = k alone."""
    padded = torch.fft.rfft(basis, 2 * basis.shape[1])
    pairs = padded * padded.conj() if diagonal else padded[:, None] * padded.conj()
    sums: Tensor = torch.fft.irfft(pairs, 2 * basis.shape[1]).roll(basis.shape[1] - 1, -1)
    return torch.movedim(sums[..., :-1], -1, 0)


def _in_basis(lags: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return a block-Toeplitz covariance in a basis of products of cosines and channels."""
    half = torch.einsum("cdyx,xlm->cdylm", lags, _offsets(across))
    whole: Tensor = torch.einsum("cdylm,yjk->cjldkm", half, _offsets(down))
    side = lags.shape[0] * len(down) * len(across)
    return whole.reshape(side, side)


def _nearest_variances(values: Tensor, total: float) -> Tensor:
    """Return the nearest numbers, descending, that are not negative and have this sum."""
    ordered = values.sort(descending=True).values
    excess = (ordered.cumsum(0) - total) / torch.arange(1, len(ordered) + 1)
    kept = int((ordered > excess).sum())
    return (ordered - excess[kept - 1]).clamp_min(0)


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
            "whole latents: the spectrum of parts of one latent follows from its autocovariance "
            "alone, so stationary fields have it too",
            "leave the stationary null out",
        )
    origin = samples.sampling.origin
    if origin is not None and not origin.spec.has_grid:
        raise UsageError(
            f"the stationary null for {origin.spec.name}, whose latents are no fields",
            "latents with a grid of cells",
            "leave the stationary null out",
        )
    return samples.layout
