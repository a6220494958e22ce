"""How much samples differ in size: of unequal rows, few carry most of the variance."""

from __future__ import annotations

import torch
from torch import Tensor

from latentlab.latents import Neighborhood, Spectrum
from latentlab.linalg.sums import column_moments, rows_in_block
from latentlab.metrics.spectrum import participation_ratio

_TIMES_GAUSSIAN = 2.0


def row_sizes(samples: Neighborhood | Tensor) -> Tensor:
    """Return the squared length (N,), float64, of each row about the mean.

    Examples
    --------
    >>> row_sizes(torch.tensor([[0.0, 2.0], [0.0, 4.0]]))
    tensor([1., 1.], dtype=torch.float64)
    """
    matrix = samples.samples if isinstance(samples, Neighborhood) else samples
    mean = column_moments(matrix)[0]
    rows = torch.split(matrix, rows_in_block(matrix.shape[1]))
    return torch.cat([(some.cpu().double() - mean).square().sum(1) for some in rows])


def are_unequal(sizes: Tensor, spectrum: Spectrum) -> bool:
    """Return whether rows differ in size more than Gaussian rows of this spectrum do.

    The squared lengths of Gaussian rows vary by 2 Σλ²/(Σλ)², relative to their squared mean.
    Twice that is unequal.

    Examples
    --------
    >>> rows = torch.randn(50, 200, generator=torch.Generator().manual_seed(0))
    >>> values = torch.linalg.svdvals(rows - rows.mean(0)).double()[:49].square() / 49
    >>> spectrum = Spectrum(values, float(values.sum()), 50, 200)
    >>> loud = rows * torch.linspace(0.5, 1.5, 50)[:, None]
    >>> are_unequal(row_sizes(rows), spectrum), are_unequal(row_sizes(loud), spectrum)
    (False, True)
    """
    if not spectrum.is_complete:
        return False
    spread = float(sizes.var() / sizes.mean() ** 2)
    return spread > _TIMES_GAUSSIAN * 2 / participation_ratio(spectrum.explained_variance)
