"""What a spectrum shows, in numbers against null models and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from latentlab.chance.elbow import Elbow, find_elbow
from latentlab.chance.intervals import LEVEL, Intervals, find_intervals
from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import Null
from latentlab.chance.nulls.isotropic import noise_nulls
from latentlab.errors import LatentlabError
from latentlab.latents import Neighborhood, Spectrum
from latentlab.metrics.spectrum import fit_curve
from latentlab.neighborhoods import sampler_of
from latentlab.neighborhoods.given import are_latents, latent_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from latentlab.latents import Latent, Progress
    from latentlab.neighborhoods.base import Sampler

DEFAULT_NULLS = ("parallel",)
_LOG_LIKE = 0.95
_SIGNIFICANT = 0.05
_MANY = "This says how many directions vary, not whether they are disentangled"


class Fitted(Protocol):
    """What has a spectrum, such as a PCA."""

    @property
    def spectrum(self) -> Spectrum:
        """Return the spectrum."""


@dataclass(frozen=True, eq=False, repr=False)
class Judgment:
    """A spectrum against null models, and what follows from the comparison.

    Parameters
    ----------
    spectrum : Spectrum that is judged
    nulls : those that were drawn, the isotropic one first; empty for two samples
    components_above : int, components above the null named ``main``; None without nulls
    main : str, name of the null that counts components: the first of parallel, signflip and
        isotropic that was drawn
    elbow : Elbow beyond chance and beyond stationary fields; None if there is none, or if one
        of the two nulls was not drawn
    intervals : Intervals, or None for partial spectra and very few samples
    verdict : str, two or three sentences
    left_out : name → why a null was not drawn
    """

    spectrum: Spectrum
    nulls: tuple[Null, ...]
    components_above: int | None
    main: str | None
    elbow: Elbow | None
    intervals: Intervals | None
    verdict: str
    left_out: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return the numbers of ``pca.json``, by name."""
        return {
            "components_above_null": self.components_above,
            "components_above_null_of": self.main,
            "null": {null.name: null.facts(self.spectrum) for null in self.nulls},
            "nulls_left_out": dict(self.left_out),
            "elbow": vars(self.elbow) if self.elbow else None,
            **_facts_of_intervals(self.intervals),
            "verdict": self.verdict,
        }

    @property
    def curve_interval(self) -> tuple[Tensor, Tensor] | None:
        """Return the ends (n,) of the curve's 95 % interval; None if unknown."""
        found = self.intervals
        return None if found is None else (found.curve_lower, found.curve_upper)

    @property
    def threshold(self) -> tuple[float, str] | None:
        """Return what an eigenvalue must exceed to count, and a label with their number."""
        for null in self.nulls:
            if null.name == self.main:
                known = len(self.spectrum.explained_variance)
                partial = self.components_above == known and not self.spectrum.is_complete
                count = f"{'≥ ' if partial else ''}{self.components_above}"
                return null.threshold, f"{count} above chance ({null.model.label})"
        return None

    def __repr__(self) -> str:
        return f"Judgment({self.verdict!r})"


def judge(
    samples: Neighborhood | Sequence[Latent] | Tensor | ArrayLike,
    fitted: Fitted | Spectrum,
    *,
    nulls: Sequence[str] = DEFAULT_NULLS,
    seed: int = 0,
    progress: Progress | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Judgment:
    """Return how a spectrum compares with null models: intervals, elbow and a verdict in words.

    Parameters
    ----------
    samples : Neighborhood, Tensor or array, (n_samples, n_features), or latents (N, C, h, w), that
        was fitted
    fitted : PCA or Spectrum of these samples; model-space units squared
    nulls : names of null models, such as parallel, signflip, stationary; isotropic costs nothing
        and is always included
    seed : int
    progress : called as ``progress("parallel null", done, total)``
    left_out : name → why another null was not drawn; stored in the result

    Raises
    ------
    UsageError : an unknown null, or one that does not apply to these samples.
    ShapeError : nulls for two samples, or the spectrum of other samples.

    Notes
    -----
    Sources: Horn 1965 (parallel analysis), El Karoui and Purdom 2016 (intervals), Lam and Yao 2012
    (elbow); see the classes of :mod:`latentlab.chance`.

    Examples
    --------
    >>> import torch
    >>> from latentlab import fit_pca
    >>> noise = torch.randn(60, 200, generator=torch.Generator().manual_seed(0))
    >>> judge(noise, fit_pca(noise)).components_above
    0
    """
    spectrum = fitted if isinstance(fitted, Spectrum) else fitted.spectrum
    samples = _rows(samples)
    drawn = noise_nulls(spectrum)
    models = [NULLS.make(name) for name in dict.fromkeys(nulls) if name != "isotropic"]
    drawn += [model.draw(samples, spectrum, seed=seed, progress=progress) for model in models]
    intervals = find_intervals(samples, spectrum, seed=seed, progress=progress) if drawn else None
    return _judgment(spectrum, sampler_of(samples), drawn, intervals, left_out)


def _rows(samples: Any) -> Neighborhood | Tensor:
    if isinstance(samples, Neighborhood):
        return samples
    if are_latents(samples):
        return latent_values(samples).flatten(1)
    return samples if isinstance(samples, torch.Tensor) else torch.tensor(np.asarray(samples))


def judge_stream(spectrum: Spectrum, neighborhood: str = "") -> Judgment:
    """Return how the spectrum of streamed rows compares with isotropic noise.

    The other nulls and the intervals would have to read the rows many times.

    Parameters
    ----------
    spectrum : Spectrum
    neighborhood : str, the sampler whose rows they resemble, such as ``"tokens"``
    """
    return _judgment(spectrum, sampler_of(neighborhood), noise_nulls(spectrum), streamed=True)


def _judgment(
    spectrum: Spectrum,
    sampler: type[Sampler],
    drawn: Sequence[Null],
    intervals: Intervals | None = None,
    left_out: Mapping[str, str] | None = None,
    *,
    streamed: bool = False,
) -> Judgment:
    """Return the judgment by the nulls that were drawn, the isotropic one first."""
    able = [null for null in drawn if null.model.counts]
    main = max(able, key=lambda null: null.model.counts, default=None)
    smooth = next((null for null in drawn if null.model.has_smooth_fields), None)
    above = main.count_above(spectrum) if main else None
    drop = find_elbow(spectrum, drawn, above or 0)
    checked = bool(main and main.draws and smooth)
    words = _Words(spectrum, sampler, main, smooth, drop, checked=checked, streamed=streamed)
    return Judgment(
        spectrum=spectrum,
        nulls=tuple(drawn),
        components_above=above,
        main=main.name if main else None,
        elbow=drop if checked else None,
        intervals=intervals,
        verdict=words.verdict(),
        left_out=left_out or {},
    )


def affordable_nulls(
    samples: Neighborhood | Tensor,
    spectrum: Spectrum,
    seconds: float,
    names: Sequence[str] = DEFAULT_NULLS,
) -> tuple[list[str], dict[str, str]]:
    """Return the nulls that together take less than this time, and why others are left out.

    The time of each is estimated by timing small parts of it.
    """
    chosen, left_out = [], {}
    for name in names:
        try:
            needed = NULLS.make(name).seconds(samples, spectrum)
        except LatentlabError as error:
            left_out[name] = str(error)
            continue
        if needed < seconds:
            chosen.append(name)
            seconds -= needed
        else:
            left_out[name] = f"it would take about {needed:.0f} s; ask for it with --nulls {name}"
    return chosen, left_out


def _facts_of_intervals(intervals: Intervals | None) -> dict[str, Any]:
    if intervals is None:
        return {"effective_dimension": None, "intervals": None}
    ratio = intervals.participation_ratio
    corrected = intervals.participation_ratio_corrected
    return {
        "effective_dimension": {
            **vars(ratio),
            "level": LEVEL,
            "method": intervals.method,
            "corrected": vars(corrected),
        },
        "intervals": {
            "level": LEVEL,
            "method": intervals.curve_method,
            "k90": vars(intervals.k90),
            "cumulative_lower": intervals.curve_lower.tolist(),
            "cumulative_upper": intervals.curve_upper.tolist(),
        },
    }


@dataclass(frozen=True)
class _Words:
    """What a judgment says in words.

    Parameters
    ----------
    main : Null that counts components
    smooth : Null of smooth fields, or None if it was not drawn
    drop : Elbow beyond the nulls that were drawn, or None
    checked : whether both kinds of null were drawn, so that a drop beyond them is an elbow
    streamed : whether no other null can be drawn
    """

    spectrum: Spectrum
    sampler: type[Sampler]
    main: Null | None
    smooth: Null | None
    drop: Elbow | None
    checked: bool
    streamed: bool

    def verdict(self) -> str:
        if self.main is None:
            return (
                "Two samples have one component, whatever they are, so nothing can be concluded. "
                "Raise the number of samples."
            )
        if self.sampler.noise:
            return f"{self._count(self.main)} {self.sampler.noise}"
        limits = f"{_MANY}." if self.streamed else f"{_MANY}: see `latentlab directions --labels`."
        sentences = (self._count(self.main), self._curve(self.main), self._elbow(), limits)
        return " ".join(sentence for sentence in sentences if sentence)

    def _count(self, main: Null) -> str:
        count = main.count_above(self.spectrum)
        known = len(self.spectrum.explained_variance)
        phrase = main.model.phrase or f"above chance ({main.model.label})"
        if count == 0:
            return f"No component rises {phrase}."
        at_least = "At least " if count == known and not self.spectrum.is_complete else ""
        noun = "component rises" if count == 1 else "components rise"
        alike = self.sampler.correlated
        caution = f", though {alike}, so chance reaches further than this null" if alike else ""
        return f"{at_least}{count} {noun} {phrase}{caution}."

    def _curve(self, main: Null) -> str:
        if not self.spectrum.is_complete:
            return "The spectrum is partial, so its curve cannot be compared with chance."
        fit = fit_curve(self.spectrum.cumulative, logarithmic=True)[2]
        if math.isnan(fit):
            return ""
        kind = "log-like" if fit >= _LOG_LIKE else "not log-like"
        shape = f"The curve is {kind} (R² {_short(fit)}, chance {_short(main.log_fit_r2)}"
        if self.smooth is None:
            return f"{shape})."
        above = self.smooth.chance_of_curve(self.spectrum) < _SIGNIFICANT
        where = (
            "rises above what stationary fields of the same covariance give"
            if above
            else "shows no more than stationary fields of the same covariance do"
        )
        label = self.smooth.model.label
        return f"{shape}, {label} {_short(self.smooth.log_fit_r2)}) and {where}."

    def _elbow(self) -> str:
        drop = self.drop
        if drop is None:
            return "No elbow." if self.spectrum.is_complete else ""
        after = f"after {drop.index} component{'s' if drop.index > 1 else ''}"
        if self.checked:
            return f"An elbow {after}: the next has 1/{drop.drop:.1f} of the variance."
        if not self.sampler.whole:
            return (
                f"A drop {after} is no elbow by itself: stationary fields with the same "
                "autocovariance have this very spectrum."
            )
        both = "both nulls: --nulls parallel,stationary"
        needed = "more than the isotropic null" if self.streamed else both
        return f"Whether the drop {after} is an elbow takes {needed}."


def _short(r2: float) -> str:
    return f"{r2:.3f}".lstrip("0") if 0 <= r2 < 0.9995 else f"{r2:.2f}"
