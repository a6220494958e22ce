"""A judgment in sentences: what it claims of a spectrum, and what a spectrum cannot say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from latentlab.chance.elbow import Elbow, find_elbow
from latentlab.chance.sentences import Sentence, claim, fact
from latentlab.metrics.spectrum import fit_curve

if TYPE_CHECKING:
    from latentlab.chance.dimension import Dimension
    from latentlab.chance.intervals import Intervals
    from latentlab.chance.nulls.base import Null
    from latentlab.chance.reach import Interval
    from latentlab.latents import Spectrum
    from latentlab.neighborhoods.base import Sampler

_SIGNIFICANT = 0.05
_MANY = "A spectrum says how many directions vary, not whether they are disentangled"


@dataclass(frozen=True)
class Words:
    """What a judgment says in words.

    Parameters
    ----------
    nulls : those that were drawn
    halves : null → R² of its curve for half the samples
    first : sentences on other evidence, before those on the spectrum
    more : sentences on other evidence, after them
    beside : what else was analyzed → its effective dimension
    half : effective dimension of half the samples, to be said beside those
    streamed : whether no other null can be drawn
    fields : whether rows are parts of latents, not a plain matrix
    """

    spectrum: Spectrum
    sampler: type[Sampler]
    nulls: Sequence[Null]
    intervals: Intervals | None = None
    halves: Mapping[str, float] = field(default_factory=dict)
    first: Sequence[Sentence] = ()
    more: Sequence[Sentence] = ()
    beside: Mapping[str, Dimension] = field(default_factory=dict)
    half: float | None = None
    streamed: bool = False
    fields: bool = True

    @cached_property
    def main(self) -> Null | None:
        able = [null for null in self.nulls if null.model.counts]
        return max(able, key=lambda null: null.model.counts, default=None)

    @cached_property
    def smooth(self) -> Null | None:
        return next((null for null in self.nulls if null.model.has_smooth_fields), None)

    @cached_property
    def drop(self) -> Elbow | None:
        return find_elbow(self.spectrum, self.nulls)

    @property
    def checked(self) -> bool:
        """Return whether the nulls were drawn that make a drop beyond them an elbow."""
        drawn = self.main is not None and self.main.draws > 0
        return drawn and self.sampler.whole and (self.smooth is not None or not self.fields)

    @property
    def uncounted(self) -> str:
        """Return why eigenvalues above a null are not called components above chance."""
        if self.sampler.uncounted or self.main is None:
            return self.sampler.uncounted
        if self.streamed:
            return "latents of different images contain no noise"
        apart = not self.sampler.whole and not self.main.model.keeps_neighbors
        return self.sampler.correlated if apart else ""

    def count_above(self, null: Null) -> int:
        """Return how many eigenvalues lie above a null; all up to an elbow do."""
        hidden = self.drop.index if self.checked and self.drop else 0
        return max(null.count_above(self.spectrum), hidden)

    def sentences(self) -> list[Sentence]:
        if self.main is None:
            text = "Two samples have one component, whatever they are, so nothing can be concluded."
            return [fact(f"{text} Raise the number of samples.")]
        if self.sampler.noise:
            return [*self._count(self.main), fact(self.sampler.noise)]
        limits = f"{_MANY}." if self.streamed else f"{_MANY}: see `latentlab directions --labels`."
        counted = (*self.first, *self._count(self.main))
        said = (*counted, *self._dimension(), *self._decay(), *self._fit(self.main))
        return [*said, *self._fields(), *self._elbow(), *self.more, fact(limits)]

    def _count(self, main: Null) -> list[Sentence]:
        if self.uncounted:
            return []
        count = self.count_above(main)
        phrase = main.model.phrase or f"above chance ({main.model.label})"
        others = [null for null in self.nulls if null.draws and null is not main]
        also = [f"{self.count_above(null)} above {null.model.label}" for null in others]
        also = [main.model.label, *also] if also else []
        alike = self.sampler.correlated if not main.model.keeps_neighbors else ""
        caution = f", though {alike}, so chance reaches further than this null" if alike else ""
        noun = "components rise" if count > 1 else "component rises"
        partial = count == len(self.spectrum.explained_variance) and not self.spectrum.is_complete
        amount = f"{'At least ' if partial else ''}{count}" if count else "No"
        several = f" ({'; '.join(also)})" if also else ""
        text = f"{amount} {noun} {phrase}{caution}{several}."
        return [claim("count", text)]

    def _dimension(self) -> list[Sentence]:
        if self.intervals is None:
            return []
        found = self.intervals.participation_ratio_corrected
        if not math.isfinite(found.value):
            return []
        others = [f"{_within(one.found)} {what}" for what, one in self.beside.items() if one.found]
        text = f"Effective dimension {_within(found)}, corrected for sampling"
        said = [claim("dimension", "; ".join([text, *others]) + ".")]
        halves = [self.half, *(one.half for one in self.beside.values())]
        if len(halves) > 1 and None not in halves:
            numbers = [f"{half:.3g}" for half in halves]
            text = f"With half of the samples it is {', '.join(numbers[:-1])} and {numbers[-1]}."
            said.append(claim("dimension", text))
        return said

    def _decay(self) -> list[Sentence]:
        decay = self.intervals.decay if self.intervals else None
        if decay is None:
            return []
        text = f"From rank {decay.first} to {decay.last}, λ_k falls as k^−{decay.exponent:.2f} "
        return [claim("decay", f"{text}({decay.lower:.2f}–{decay.upper:.2f}).")]

    def _fit(self, main: Null) -> list[Sentence]:
        if not self.spectrum.is_complete:
            text = "The spectrum is partial, so its curve cannot be compared with chance."
            return [fact(text)]
        fit = fit_curve(self.spectrum.cumulative, logarithmic=True)[2]
        if math.isnan(fit):
            return []
        shown = [main, *([self.smooth] if self.smooth else [])]
        at = f"at N = {self.spectrum.n_samples:,}"
        nulls = ", ".join(f"{null.model.label} {_short(null.log_fit_r2)}" for null in shown)
        before = ""
        if self.intervals and self.halves:
            few = [null for null in shown if null.name in self.halves]
            named = ("" if few == shown else f"{null.model.label} " for null in few)
            values = (
                f"{name}{_short(self.halves[null.name])}"
                for name, null in zip(named, few, strict=True)
            )
            half = f"{_short(self.intervals.half_r2)} at half of that"
            before = f" and {half} ({', '.join(values)})" if few else f" and {half}"
        text = f"The fit of a logarithm depends on N: R² {_short(fit)} {at} ({nulls}){before}."
        return [claim("fit", text)]

    def _fields(self) -> list[Sentence]:
        if self.smooth is None or not self.spectrum.is_complete:
            return []
        if self.smooth.chance_of_curve(self.spectrum) < _SIGNIFICANT:
            text = "The curve rises above what stationary fields of the same covariance give."
        else:
            text = "The curve shows no more than stationary fields of the same covariance do."
        return [claim("stationary", text)]

    def _elbow(self) -> list[Sentence]:
        drop = self.drop
        if drop is None:
            found = self.checked and self.spectrum.is_complete
            text = (
                "No elbow: no drop is beyond the nulls and four times as steep as those around it."
            )
            return [claim("elbow", text)] if found else []
        after = f"after {drop.index} component{'s' if drop.index > 1 else ''}"
        if self.checked:
            text = f"An elbow {after}: the next has 1/{drop.drop:.3g} of the variance."
            return [claim("elbow", text)]
        if not self.sampler.whole:
            text = f"A drop {after} is no elbow by itself: stationary fields with the same "
            return [fact(f"{text}autocovariance have this very spectrum.")]
        both = "both nulls: --nulls parallel,stationary"
        needed = "more than the isotropic null" if self.streamed else both
        return [fact(f"Whether the drop {after} is an elbow takes {needed}.")]


def _within(found: Interval) -> str:
    """Return a number with its interval, to three digits."""
    ends = f"{found.lower:.3g}–{found.upper:.3g}".replace("inf", "∞")
    return f"{found.value:.3g} ({ends})"


def _short(r2: float) -> str:
    return f"{r2:.3f}".lstrip("0") if 0 <= r2 < 0.9995 else f"{r2:.2f}"
