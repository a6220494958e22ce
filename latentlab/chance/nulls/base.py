"""The base of all nulls: spectra of samples that lack one kind of structure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentlab.errors import ShapeError
from latentlab.figures.curves import Band
from latentlab.latents import Neighborhood, Progress, Spectrum
from latentlab.metrics.spectrum import fit_curve

BAND = (0.05, 0.95)
_CONFIDENCE = 0.95
# A difference within the rounding of float32 does not count.
_MARGIN = 1 + 1e-5


@dataclass(frozen=True, eq=False, repr=False)
class Null:
    """The spectra of a null model at the size and total variance of some samples.

    Parameters
    ----------
    model : NullModel that was drawn
    spectra : Tensor, (draws, n), float64; the eigenvalues of each draw, descending, each with the
        samples' total variance. One row, the expected spectrum, if the null is analytic.
    total_variance : float, of the samples
    largest_quantile : float, 95 % quantile of the largest eigenvalue
    threshold : float, what an eigenvalue must exceed to count as above chance: the upper 95 %
        confidence limit of that quantile, since it is estimated from few draws
    draws : int, 0 if the null is analytic
    """

    model: NullModel
    spectra: Tensor
    total_variance: float
    largest_quantile: float
    threshold: float
    draws: int

    @property
    def curves(self) -> Tensor:
        """Return the cumulative share of the variance of each draw, (draws, n)."""
        return self.spectra.cumsum(1) / self.total_variance

    @property
    def curve(self) -> Tensor:
        """Return the mean cumulative share of the variance, (n,)."""
        return self.curves.mean(0)

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.model.name

    def curve_band(self) -> Band:
        """Return the mean curve with the 5 % and 95 % quantiles at each k, for figures."""
        label = f"{self.model.label} (log fit R² {self.log_fit_r2:.3f})"
        return self._band(label, self.curves)

    def eigenvalue_band(self) -> Band:
        """Return the mean eigenvalues with the 5 % and 95 % quantiles of each, for figures."""
        return self._band(self.model.label, self.spectra)

    def _band(self, label: str, values: Tensor) -> Band:
        ends = _quantiles(values) if self.draws else (None, None)
        return Band(label, self.model.color, values.mean(0), *ends)

    @property
    def eigenvalue_limits(self) -> Tensor:
        """Return the 95 % quantile of each eigenvalue, (n,)."""
        return _quantiles(self.spectra)[1]

    @property
    def log_fit_r2(self) -> float:
        """Return R² of the mean curve against ln k."""
        return fit_curve(self.curve, logarithmic=True)[2]

    @property
    def linear_fit_r2(self) -> float:
        """Return R² of the mean curve against k."""
        return fit_curve(self.curve, logarithmic=False)[2]

    def count_above(self, spectrum: Spectrum) -> int:
        """Return how many eigenvalues exceed the threshold, which is the same for all.

        Comparing each with the null's eigenvalue of the same rank would count noise: one real
        component shifts the ranks of all others. An eigenvalue above the threshold is hardly ever
        noise, but real components may lie below it. Five equal components at twice the
        detection edge, √(D/N) times the noise variance, are all found from N = 1,000 on. N = 500
        shows all five in two cases of three, N = 256 in about half, and at least four in nearly
        all.

        Removing the components that were found and testing the rest again would find more (Dobriban
        and Owen, 1711.04155), but assumes a noise floor. A log-like spectrum has none, so nearly
        all its components would be counted.
        """
        return int((spectrum.explained_variance > self.threshold * _MARGIN).sum())

    def chance_of_curve(self, spectrum: Spectrum) -> float:
        """Return the p-value of the samples' curve lying above the curves of this null.

        The largest excess over the mean curve, in standard deviations at each k, is ranked among
        those of the draws (the one-sided global envelope test of Myllymäki et al., 1307.0239).
        NaN if the null is analytic or the spectrum is partial.
        """
        if not self.draws or not spectrum.is_complete:
            return math.nan
        # The samples belong to the pool that sets the scale: under the null they are another draw.
        pool = torch.cat([spectrum.cumulative[None].double(), self.curves])[:, :-1]
        if not pool.numel():
            return math.nan
        excess = (pool - pool.mean(0)) / pool.std(0).clamp_min(1e-12)
        largest = excess.amax(1)
        return float((largest >= largest[0]).double().mean())

    def facts(self, spectrum: Spectrum) -> dict[str, Any]:
        """Return the null's numbers in ``pca.json``, compared with the samples' spectrum."""
        lower, upper = _quantiles(self.curves)
        smallest, largest = _quantiles(self.spectra)
        return {
            "draws": self.draws,
            "curve": self.curve.tolist(),
            "curve_lower": lower.tolist(),
            "curve_upper": upper.tolist(),
            "eigenvalues": self.spectra.mean(0).tolist(),
            "eigenvalues_lower": smallest.tolist(),
            "eigenvalues_upper": largest.tolist(),
            "quantiles": list(BAND),
            "log_fit_r2": self.log_fit_r2,
            "linear_fit_r2": self.linear_fit_r2,
            "largest_eigenvalue_quantile": self.largest_quantile,
            "threshold": self.threshold,
            "components_above": self.count_above(spectrum),
            "p_of_curve": self.chance_of_curve(spectrum),
        }

    def __repr__(self) -> str:
        return f"Null({self.name!r}, {self.draws} draws, {self.spectra.shape[1]} eigenvalues)"


def _quantiles(values: Tensor) -> tuple[Tensor, Tensor]:
    low, high = (values.quantile(level, dim=0) for level in BAND)
    return low, high


def limit_of_quantile(values: Tensor) -> float:
    """Return a value that exceeds the 95 % quantile of the values' distribution.

    With 95 % confidence, for any distribution. Fewer than 59 values are too few for that, and the
    largest is returned. Source: Wilks 1941, Ann. Math. Stat. 12, 91.

    Examples
    --------
    >>> limit_of_quantile(torch.arange(1.0, 101.0))
    99.0
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    ordered = values.sort().values
    # The k-th smallest exceeds the quantile when fewer than k of all lie below it.
    chances = bdtr(range(len(ordered) + 1), len(ordered), BAND[1])
    needed = int((chances < _CONFIDENCE).sum()) + 1
    return float(ordered[min(needed, len(ordered)) - 1])


@dataclass(frozen=True)
class NullModel(ABC):
    """One null model. Its fields are its options.

    Class attributes
    ----------------
    name : how users call it
    label : how legends call it
    color : of its band in figures
    counts : int, priority for counting components if several nulls were drawn; 0 for never
    phrase : how a verdict describes components above its threshold
    keeps_neighbors : whether neighboring rows of a draw are as alike as the samples'
    whole_grid : whether all rows are needed, so that none can be drawn for half of them
    has_smooth_fields : whether its draws are as smooth as the samples, so that smoothness does not
        explain an elbow beyond it
    """

    name: ClassVar[str]
    label: ClassVar[str]
    color: ClassVar[str] = "#7F7F7F"
    counts: ClassVar[int] = 0
    phrase: ClassVar[str] = ""
    keeps_neighbors: ClassVar[bool] = False
    whole_grid: ClassVar[bool] = False
    has_smooth_fields: ClassVar[bool] = False

    @abstractmethod
    def draw(
        self,
        samples: Neighborhood | Tensor,
        spectrum: Spectrum,
        *,
        draws: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Null:
        """Return the null for samples with this spectrum.

        Parameters
        ----------
        samples : Neighborhood or Tensor, (n_samples, n_features)
        spectrum : Spectrum of the samples
        draws : int, optional; the default depends on the null
        seed : int
        progress : called as ``progress("parallel null", done, total)``

        Raises
        ------
        UsageError : the null does not apply to these samples.
        ShapeError : fewer than three samples, or the spectrum of other samples.
        NonFiniteError : the samples contain NaN or infinity.
        """

    @abstractmethod
    def seconds(self, samples: Neighborhood | Tensor, spectrum: Spectrum) -> float:
        """Return about how many seconds :meth:`draw` takes on two cores, from sizes alone.

        Raises
        ------
        LatentlabError : as for :meth:`draw`.
        """


def matrix_of(samples: Neighborhood | Tensor, spectrum: Spectrum) -> Tensor:
    """Return the samples of this spectrum as a matrix (N, D) on the CPU.

    Raises
    ------
    ShapeError : the spectrum of other samples, or fewer than three samples.
    """
    matrix = samples.samples if isinstance(samples, Neighborhood) else samples
    check_size(spectrum)
    if tuple(matrix.shape) != (spectrum.n_samples, spectrum.n_features):
        raise ShapeError(
            f"samples of shape {tuple(matrix.shape)}",
            f"the {spectrum.n_samples}×{spectrum.n_features} samples of the PCA",
            "pass the neighborhood that was fitted",
        )
    return matrix.cpu()


def check_size(spectrum: Spectrum) -> None:
    """Raise ShapeError if there are too few samples for any null."""
    if spectrum.n_samples < 3:
        raise ShapeError(
            f"nulls for {spectrum.n_samples} samples",
            "at least 3, since two have one component and so has every null",
            "raise the number of samples",
        )
