"""What a neighborhood can and cannot show, in numbers beside those of chance and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentlab.chance.elbow import Elbow, find_elbow
from latentlab.chance.intervals import LEVEL, Intervals, find_intervals
from latentlab.chance.nulls import Isotropic, Null, null_model
from latentlab.chance.nulls.isotropic import isotropic_null
from latentlab.errors import LatentlabError
from latentlab.metrics.spectrum import fit_curve

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.components.pca import PCA
    from latentlab.latents import Neighborhood, Progress, Spectrum

DEFAULT_NULLS = ("parallel",)
_LOG_LIKE = 0.95
_SIGNIFICANT = 0.05
_PARTS = ("tokens", "patches")
_CORRELATED = {
    "tokens": "neighboring cells are alike",
    "patches": "neighboring patches overlap",
    "crops": "crops overlap",
    "frames": "consecutive frames are alike",
}
_NOISE = {
    "gaussian": "Noise was put in, so this spectrum follows from N and D alone: it is the negative "
    "control and says nothing about the model or the picture.",
    "posterior": "The encoder's own σ was put in, so this spectrum says how σ differs between "
    "cells and channels, and nothing about meaning.",
}
_MANY = "This says how many directions vary, not whether they are disentangled"
_LIMITS = f"{_MANY}: see `latentlab directions --labels`."


@dataclass(frozen=True, eq=False, repr=False)
class Judgement:
    """A spectrum beside what chance gives, and what follows.

    Parameters
    ----------
    spectrum : Spectrum that is judged
    nulls : those that were drawn, the isotropic one first; none for two samples
    components_above : int, components above the null named ``main``; None without nulls
    main : str, the first of parallel, signflip and isotropic that was drawn
    elbow : Elbow beyond chance and beyond stationary fields; None where there is none, and where
        one of the two was not drawn
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

    def __repr__(self) -> str:
        return f"Judgement({self.verdict!r})"


def judge(
    samples: Neighborhood | Tensor,
    pca: PCA,
    *,
    nulls: Sequence[str] = DEFAULT_NULLS,
    seed: int = 0,
    progress: Progress | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Judgement:
    """Return a PCA's spectrum beside what chance gives: nulls, intervals, elbow and a verdict.

    Parameters
    ----------
    samples : Neighborhood or Tensor, (n_samples, n_features), that was fitted
    pca : PCA of these samples
    nulls : names: parallel, signflip, stationary; isotropic costs nothing and is always there
    seed : int
    progress : called as ``progress("parallel null", done, total)``
    left_out : name → why another null was not asked for, to be passed on

    Raises
    ------
    UsageError : an unknown null, or one that makes no sense for these samples.
    ShapeError : nulls asked for with two samples, or the PCA of other samples.

    Examples
    --------
    >>> import torch
    >>> from latentlab import fit_pca
    >>> noise = torch.randn(60, 200, generator=torch.Generator().manual_seed(0))
    >>> judge(noise, fit_pca(noise)).components_above
    0
    """
    spectrum = pca.spectrum
    models = [null_model(name) for name in dict.fromkeys(nulls)]
    drawn = {} if spectrum.n_samples < 3 else {Isotropic.name: isotropic_null(spectrum)}
    for model in models:
        drawn[model.name] = model.draw(samples, spectrum, seed=seed, progress=progress)
    intervals = find_intervals(samples, spectrum, seed=seed, progress=progress) if drawn else None
    main = next(
        (drawn[name] for name in ("parallel", "signflip", "isotropic") if name in drawn), None
    )
    above = main.count_above(spectrum) if main else None
    drop = find_elbow(spectrum, drawn.values(), above or 0)
    checked = bool(main and main.draws and "stationary" in drawn)
    return Judgement(
        spectrum=spectrum,
        nulls=tuple(drawn.values()),
        components_above=above,
        main=main.name if main else None,
        elbow=drop if checked else None,
        intervals=intervals,
        verdict=_put_into_words(pca, main, drawn.get("stationary"), drop, checked=checked),
        left_out=left_out or {},
    )


def judge_stream(pca: PCA) -> Judgement:
    """Return the spectrum of rows that passed by beside isotropic noise, all that can be known.

    The other nulls and the intervals need the rows themselves, again and again.
    """
    spectrum = pca.spectrum
    main = None if spectrum.n_samples < 3 else isotropic_null(spectrum)
    above = main.count_above(spectrum) if main else None
    drop = find_elbow(spectrum, [main] if main else [], above or 0)
    return Judgement(
        spectrum=spectrum,
        nulls=(main,) if main else (),
        components_above=above,
        main=main.name if main else None,
        elbow=None,
        intervals=None,
        verdict=_put_stream_into_words(pca, main, drop),
    )


def affordable_nulls(
    samples: Neighborhood | Tensor,
    spectrum: Spectrum,
    seconds: float,
    names: Sequence[str] = DEFAULT_NULLS,
) -> tuple[list[str], dict[str, str]]:
    """Return the nulls that take less than these seconds together, and why others are left out.

    Small parts of each are timed and multiplied.
    """
    chosen, left_out = [], {}
    for name in names:
        try:
            needed = null_model(name).seconds(samples, spectrum)
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


def _put_into_words(
    pca: PCA, main: Null | None, stationary: Null | None, drop: Elbow | None, *, checked: bool
) -> str:
    if main is None:
        return (
            "Two samples have one component, whatever they are: nothing can be told from them. "
            "Raise the number of samples."
        )
    if pca.neighborhood in _NOISE:
        return f"{_say_count(pca, main)} {_NOISE[pca.neighborhood]}"
    sentences = [
        _say_count(pca, main),
        _say_curve(pca.spectrum, main, stationary),
        _say_elbow(pca, drop, checked=checked),
        _LIMITS,
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _put_stream_into_words(pca: PCA, main: Null | None, drop: Elbow | None) -> str:
    if main is None:
        return _put_into_words(pca, main, None, drop, checked=False)
    after = f"the drop after {drop.index} component{'s' if drop.index > 1 else ''}" if drop else ""
    sentences = [
        _say_count(pca, main),
        _say_curve(pca.spectrum, main, None),
        f"Whether {after} is an elbow takes more than the isotropic null." if drop else "",
        f"{_MANY}.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _say_count(pca: PCA, main: Null) -> str:
    count = main.count_above(pca.spectrum)
    known = len(pca.spectrum.explained_variance)
    chance = "above chance" if main.name == "parallel" else f"above chance ({main.label})"
    if count == 0:
        return f"No component rises {chance}."
    at_least = "At least " if count == known and not pca.spectrum.is_complete else ""
    noun = "component rises" if count == 1 else "components rise"
    alike = _CORRELATED.get(pca.neighborhood)
    caution = f", though {alike}, so chance reaches further than this null" if alike else ""
    return f"{at_least}{count} {noun} {chance}{caution}."


def _say_curve(spectrum: Spectrum, main: Null, stationary: Null | None) -> str:
    if not spectrum.is_complete:
        return "The spectrum is partial, so its curve cannot be compared with chance."
    fit = fit_curve(spectrum.cumulative, logarithmic=True)[2]
    if math.isnan(fit):
        return ""
    kind = "log-like" if fit >= _LOG_LIKE else "not log-like"
    shape = f"The curve is {kind} (R² {_short(fit)}, chance {_short(main.log_fit_r2)}"
    if stationary is None:
        return f"{shape})."
    above = stationary.chance_of_curve(spectrum) < _SIGNIFICANT
    where = (
        "rises above what stationary fields of the same cross-spectrum give"
        if above
        else "shows no more than stationary fields of the same cross-spectrum do"
    )
    return f"{shape}, stationary fields {_short(stationary.log_fit_r2)}) and {where}."


def _short(r2: float) -> str:
    return f"{r2:.3f}".lstrip("0") if 0 <= r2 < 0.9995 else f"{r2:.2f}"


def _say_elbow(pca: PCA, drop: Elbow | None, *, checked: bool) -> str:
    if drop is None:
        return "No elbow." if pca.spectrum.is_complete else ""
    after = f"after {drop.index} component{'s' if drop.index > 1 else ''}"
    if checked:
        return f"An elbow {after}: the next has 1/{drop.drop:.1f} of the variance."
    if pca.neighborhood in _PARTS:
        return (
            f"A drop {after} is no elbow by itself: stationary fields with the same cross-spectrum "
            "have this very spectrum."
        )
    return f"Whether the drop {after} is an elbow takes both nulls: --nulls parallel,stationary."
