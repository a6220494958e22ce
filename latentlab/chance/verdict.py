"""What a spectrum shows, in numbers against null models and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from latentlab.chance.decay import NO_DECAY
from latentlab.chance.dimension import Dimension, dimension_of_half
from latentlab.chance.elbow import Elbow
from latentlab.chance.intervals import Intervals, find_intervals
from latentlab.chance.nulls import NULLS
from latentlab.chance.nulls.base import Null, NullModel, matrix_of
from latentlab.chance.nulls.isotropic import noise_nulls
from latentlab.chance.row_sizes import are_unequal, row_sizes
from latentlab.chance.sentences import Sentence
from latentlab.chance.words import Words
from latentlab.errors import LatentlabError
from latentlab.figures.tables import frame_of, html_table
from latentlab.latents import Neighborhood, Spectrum
from latentlab.linalg.sums import column_moments
from latentlab.neighborhoods import sampler_of
from latentlab.neighborhoods.given import are_latents, latent_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from latentlab.latents import Latent, Progress

AFFORDABLE = 60.0
"""Seconds on two cores within which null models are drawn unasked."""
_FEWEST_FOR_HALVES = 6
_DRAWS_OF_HALF = 4
_COLUMNS = ("components_above", "log_fit_r2", "log_fit_r2_half", "p_of_curve", "draws")


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
    components_above : int, eigenvalues above the null named ``main``; None without nulls
    main : str, name of the null that counts first: of those that were drawn, the first of turned,
        parallel, signflip and isotropic
    uncounted : str, why these eigenvalues are not called components above chance; else empty
    elbow : Elbow beyond chance and beyond stationary fields; None if there is none, or if a
        null that it takes was not drawn
    intervals : Intervals, or None for partial spectra and very few samples
    sentences : tuple of Sentence, the verdict with the name of what each claims
    left_out : name → why a null was not drawn
    halves : null → R² of its curve for half the samples
    """

    spectrum: Spectrum
    nulls: tuple[Null, ...]
    components_above: int | None
    main: str | None
    uncounted: str
    elbow: Elbow | None
    intervals: Intervals | None
    sentences: tuple[Sentence, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    halves: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Return what the numbers show, in a few sentences."""
        return " ".join(sentence.text for sentence in self.sentences)

    def facts(self) -> dict[str, Any]:
        """Return the numbers of ``pca.json``, by name."""
        return {
            "components_above_null": self.components_above,
            "components_above_null_of": self.main,
            "components_not_counted": self.uncounted or None,
            "null": {null.name: self._facts_of(null) for null in self.nulls},
            "nulls_left_out": dict(self.left_out),
            "elbow": vars(self.elbow) if self.elbow else None,
            **(self.intervals.facts() if self.intervals else _UNKNOWN),
            "verdict": self.verdict,
        }

    def _facts_of(self, null: Null) -> dict[str, Any]:
        above = null.count_above(self.spectrum)
        return {
            **null.facts(self.spectrum),
            "components_above": max(above, self.elbow.index if self.elbow else 0),
            "log_fit_r2_half": self.halves.get(null.name),
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
                above = "above the largest" if self.uncounted else "above chance"
                return null.threshold, f"{count} {above} ({null.model.label})"
        return None

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each null model: what it says of the spectrum.

        ``components_above`` it, ``log_fit_r2`` of its own curve, ``log_fit_r2_half`` for half the
        samples, ``p_of_curve`` of the samples' curve lying above it, and ``draws``.
        """
        return frame_of(self._table())

    def _table(self) -> list[dict[str, Any]]:
        facts = {null.name: self._facts_of(null) for null in self.nulls}
        return [
            {"null": name, **{column: one[column] for column in _COLUMNS}}
            for name, one in facts.items()
        ]

    def _repr_html_(self) -> str:
        heads = ("null", "components above", "R² of log fit", "of half", "p of the curve", "draws")
        left_out = [f"{name} null left out: {why}." for name, why in self.left_out.items()]
        rows = [tuple(row.values()) for row in self._table()]
        return html_table(heads, rows, notes=[self.verdict, *left_out])

    def __repr__(self) -> str:
        return f"Judgment({self.verdict!r})"


def judge(
    samples: Neighborhood | Sequence[Latent] | Tensor | ArrayLike,
    fitted: Fitted | Spectrum,
    *,
    nulls: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    left_out: Mapping[str, str] | None = None,
    first: Sequence[Sentence] = (),
    more: Sequence[Sentence] = (),
    beside: Mapping[str, Dimension] | None = None,
) -> Judgment:
    """Return how a spectrum compares with null models: intervals, elbow and a verdict in words.

    Parameters
    ----------
    samples : Neighborhood, Tensor or array, (n_samples, n_features), or latents (N, C, h, w), that
        was fitted
    fitted : PCA or Spectrum of these samples; model-space units squared
    nulls : names of null models, such as parallel, signflip, stationary; by default those that
        match how the samples were drawn. Isotropic costs nothing and is always included, and
        signflip is added if rows are of unequal size.
    seed : int
    progress : called as ``progress("parallel null", done, total)``
    left_out : name → why another null was not drawn; stored in the result
    first, more : sentences on other evidence, before and after those on the spectrum
    beside : what else was analyzed, such as ``"as pixels"`` → its effective dimension, for the
        verdict

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
    nulls = default_nulls(samples) if nulls is None else nulls
    drawn = noise_nulls(spectrum)
    models = [NULLS.make(name) for name in matching_nulls(samples, spectrum, nulls)]
    drawn += [model.draw(samples, spectrum, seed=seed, progress=progress) for model in models]
    intervals = find_intervals(samples, spectrum, seed=seed, progress=progress) if drawn else None
    halves = _fits_of_half(samples, spectrum, models, seed) if intervals else {}
    words = Words(
        spectrum,
        sampler_of(samples),
        drawn,
        intervals,
        halves,
        first,
        more,
        beside or {},
        dimension_of_half(matrix_of(samples, spectrum)) if beside and intervals else None,
        fields=isinstance(samples, Neighborhood),
    )
    return _judgment(words, left_out)


def _fits_of_half(
    samples: Neighborhood | Tensor, spectrum: Spectrum, models: Sequence[NullModel], seed: int
) -> dict[str, float]:
    """Return null → R² of its curve for half the samples."""
    matrix = samples.samples if isinstance(samples, Neighborhood) else samples
    chosen = np.random.default_rng(seed).permutation(len(matrix))[: (len(matrix) + 1) // 2]
    part = matrix[torch.from_numpy(np.sort(chosen))]
    if len(part) < _FEWEST_FOR_HALVES:
        return {}
    # The shape of a null's curve does not depend on the samples' spectrum beyond its sum.
    total = float(column_moments(part)[1].sum())
    few = Spectrum(torch.full((1,), total, dtype=torch.float64), total, *part.shape)
    some = replace(samples, samples=part) if isinstance(samples, Neighborhood) else part
    found = {"isotropic": noise_nulls(few)[0].log_fit_r2}
    for model in models:
        if not model.whole_grid:
            drawn = model.draw(some, few, draws=_DRAWS_OF_HALF, seed=seed)
            found[model.name] = drawn.log_fit_r2
    return found


def default_nulls(samples: Neighborhood | Tensor) -> tuple[str, ...]:
    """Return the names of the null models that match how samples were drawn."""
    if isinstance(samples, Neighborhood) and samples.layout.grid is not None:
        rows, columns = samples.layout.grid
        if rows * columns != samples.n_samples:
            return ()
    return sampler_of(samples).nulls


def matching_nulls(
    samples: Neighborhood | Tensor, spectrum: Spectrum, names: Sequence[str]
) -> list[str]:
    """Return the names, each once and without isotropic, and signflip if rows are of unequal size.

    A null that spreads loud rows over all would call each of them a component.
    """
    chosen = [name for name in dict.fromkeys(names) if name != "isotropic"]
    if chosen and "signflip" not in chosen and are_unequal(row_sizes(samples), spectrum):
        chosen.append("signflip")
    return chosen


def _rows(samples: Any) -> Neighborhood | Tensor:
    if isinstance(samples, Neighborhood):
        return samples
    if are_latents(samples):
        return latent_values(samples).flatten(1)
    return samples if isinstance(samples, torch.Tensor) else torch.tensor(np.asarray(samples))


def judge_stream(
    spectrum: Spectrum,
    neighborhood: str = "",
    samples: Neighborhood | Tensor | None = None,
    *,
    nulls: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Judgment:
    """Return how the spectrum of streamed rows compares with null models, without intervals.

    Parameters
    ----------
    spectrum : Spectrum, of the rows or of the samples
    neighborhood : str, the sampler whose rows they resemble, such as ``"tokens"``
    samples : rows in memory that have this spectrum; without them only isotropic noise is drawn
    nulls, seed, progress, left_out : as for :func:`judge`
    """
    drawn = noise_nulls(spectrum)
    if samples is not None:
        models = [NULLS.make(name) for name in nulls]
        drawn += [model.draw(samples, spectrum, seed=seed, progress=progress) for model in models]
    return _judgment(Words(spectrum, sampler_of(neighborhood), drawn, streamed=True), left_out)


def _judgment(words: Words, left_out: Mapping[str, str] | None = None) -> Judgment:
    """Return the judgment by the nulls that were drawn, the isotropic one first."""
    main = words.main
    return Judgment(
        spectrum=words.spectrum,
        nulls=tuple(words.nulls),
        components_above=words.count_above(main) if main else None,
        main=main.name if main else None,
        uncounted=words.uncounted,
        elbow=words.drop if words.checked else None,
        intervals=words.intervals,
        sentences=tuple(words.sentences()),
        left_out=left_out or {},
        halves=words.halves,
    )


def affordable_nulls(
    samples: Neighborhood | Tensor,
    spectrum: Spectrum,
    names: Sequence[str] | None = None,
    *,
    seconds: float = AFFORDABLE,
) -> tuple[list[str], dict[str, str]]:
    """Return the nulls that together take less than this time, and why others are left out.

    By default of those that match how the samples were drawn. The time is a rule of sizes, so the
    same samples always get the same nulls.
    """
    chosen, left_out = [], {}
    for name in default_nulls(samples) if names is None else names:
        try:
            needed = NULLS.make(name).seconds(samples, spectrum)
        except LatentlabError as error:
            left_out[name] = str(error)
            continue
        if needed < seconds:
            chosen.append(name)
            seconds -= needed
        else:
            left_out[name] = f"about {needed:.0f} s of work; ask for it with --nulls {name}"
    return chosen, left_out


_UNKNOWN = {
    "effective_dimension": None,
    "intervals": None,
    "decay": NO_DECAY,
    "log_fit_r2_half": None,
}
