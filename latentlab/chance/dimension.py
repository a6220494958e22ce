"""The effective dimension of samples, of half of them, and of others beside them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from latentlab.chance.intervals import interval_of_dimension
from latentlab.chance.reach import Interval
from latentlab.latents import Neighborhood, Spectrum
from latentlab.linalg.sums import gram_matrix
from latentlab.machine.threads import threads_for
from latentlab.metrics.spectrum import participation_ratio_corrected

_FEWEST = 4


@dataclass(frozen=True)
class Dimension:
    """An effective dimension corrected for sampling, and that of half the samples.

    Parameters
    ----------
    found : Interval, 95 %; None for fewer than six independent samples
    half : float, mean over the even and the odd samples; None for fewer than 8
    """

    found: Interval | None
    half: float | None

    def facts(self) -> dict[str, Any]:
        """Return ``effective_dimension`` of a control in ``pca.json``."""
        return {**asdict(self.found), "half": self.half} if self.found else {"half": self.half}


def find_dimension(samples: Neighborhood | Tensor, spectrum: Spectrum) -> Dimension:
    """Return the effective dimension of samples, and of half of them.

    Both are corrected for sampling, so that they differ by chance alone unless rows are dependent.

    Parameters
    ----------
    samples : Neighborhood or Tensor, (n_samples, n_features)
    spectrum : Spectrum of the samples

    Examples
    --------
    >>> import latentlab
    >>> rows = torch.randn(60, 10, generator=torch.Generator().manual_seed(0))
    >>> found = find_dimension(rows, latentlab.fit_pca(rows).spectrum)
    >>> found.found.lower < 10 < found.found.upper
    True
    """
    matrix = samples.samples if isinstance(samples, Neighborhood) else samples
    if not spectrum.is_complete:
        return Dimension(None, None)
    return Dimension(interval_of_dimension(samples, spectrum), dimension_of_half(matrix))


def dimension_of_half(matrix: Tensor) -> float | None:
    """Return the effective dimension of the even and of the odd rows (n, p), their mean."""
    if len(matrix) < 2 * _FEWEST:
        return None
    found = sum(_dimension(matrix[start::2]) for start in (0, 1)) / 2
    return found if math.isfinite(found) else None


def _dimension(rows: Tensor) -> float:
    _, gram = gram_matrix(rows)
    with threads_for(len(gram)):
        values = torch.linalg.eigvalsh(gram).clamp_min(0) / (len(rows) - 1)
    return participation_ratio_corrected(values, len(rows), gram.diagonal())
