"""Samples around an image, the directions in them, and what both are worth, in stages.

A page can be used as soon as there are directions. What chance would give and what the directions
change take as long again, so they follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentlab.chance.nulls.isotropic import noise_nulls
from latentlab.chance.verdict import Judgment, affordable_nulls, judge
from latentlab.components.fitting import fit_pca
from latentlab.directions import FINDERS
from latentlab.directions.difference import Difference
from latentlab.directions.finding import search_directions
from latentlab.directions.labels import label_directions, with_labels
from latentlab.directions.reliability import Reliability, split_half_reliability
from latentlab.errors import ShapeError, UsageError
from latentlab.explorer.choices import check_settings, has_sides, options_of
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.sampling import resample
from latentlab.recipes.sampling import SamplingPlan, draw_neighborhood

if TYPE_CHECKING:
    from latentlab.chance.nulls.base import Null
    from latentlab.components.pca import PCA
    from latentlab.directions.base import Finder
    from latentlab.explorer.subjects import Subject
    from latentlab.images.image import Image
    from latentlab.latents import Directions, Neighborhood, Progress, Sampling

USUAL_SAMPLES = 64
"""Samples where a page asks for no number: enough for a first look, in seconds instead of minutes.
"""
_SECONDS_OF_NULLS = 20.0
_MOST_POINTS = 160


@dataclass(frozen=True)
class Plan:
    """What to sample around an image, and how to find directions in it.

    Parameters
    ----------
    neighborhood, finder : str, registered names
    n_samples : int, optional
    region : (x, y, width, height) in pixels, optional
    seed : int
    settings : (name, number) of options of the neighborhood and the finder
    files : (name, text) of such options, which no page may give; only the Python that it copies
        has them
    """

    neighborhood: str = "augment"
    finder: str = "pca"
    n_samples: int | None = None
    region: tuple[int, int, int, int] | None = None
    seed: int = 0
    settings: tuple[tuple[str, float], ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the plan, JSON-ready."""
        shown = {name: value for name, value in vars(self).items() if name != "files"}
        region = list(self.region) if self.region else None
        return {**shown, "region": region, "settings": dict(self.settings)}

    def sampler_options(self) -> dict[str, Any]:
        """Return the options of the neighborhood.

        Raises
        ------
        ArgumentError : a setting that neither the neighborhood nor the finder has.
        """
        check_settings(self.neighborhood, self.finder, self.settings)
        return options_of(SAMPLERS[self.neighborhood], self.settings, self.files)

    def make_finder(self, other: Image | None = None) -> Finder:
        """Return the finder with its options.

        Parameters
        ----------
        other : Image to which the finder ``difference`` leads if nothing else was given, optional

        Raises
        ------
        UsageError : an invalid option, or nothing to lead to.
        """
        options = options_of(FINDERS[self.finder], self.settings, self.files)
        if self.finder == "difference" and not has_sides(self.files):
            if other is None:
                raise UsageError(
                    "the finder difference without a second image",
                    "one to blend with",
                    "choose it under “Another image”, or start with --set other=FILE",
                )
            return replace(Difference(other=other), **options)
        return FINDERS.make(self.finder, options)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Directions around an image, with what is known of them so far.

    Parameters
    ----------
    plan : Plan
    sampling : Sampling, how the samples were drawn; they themselves are not kept
    pca : PCA of the neighborhood
    directions : Directions by the plan's finder
    reliability : Reliability, how well each direction is found again; None if that says nothing
    judgment : Judgment, once null models were drawn
    complete : bool, whether nothing more follows
    """

    plan: Plan
    sampling: Sampling
    pca: PCA
    directions: Directions
    reliability: Reliability | None = None
    judgment: Judgment | None = None
    complete: bool = False

    def describe(self) -> dict[str, Any]:
        """Return plan, directions, curve and verdict, JSON-ready."""
        found, judged = self.directions, self.judgment
        return {
            "plan": self.plan.describe(),
            "n_samples": self.pca.spectrum.n_samples,
            "n_features": self.pca.spectrum.n_features,
            "about": found.basis or found.finder,
            "statement": self.sampling.statement,
            "notes": list(found.notes),
            "unit": found.step_unit,
            "strength_name": found.strength_name,
            "random_strength": found.baseline_strength,
            "directions": [self._describe_direction(k) for k in range(len(found.labels))],
            "spectrum": self.spectrum,
            "verdict": judged.verdict if judged else None,
            "complete": self.complete,
        }

    def _describe_direction(self, k: int) -> dict[str, Any]:
        found, again = self.directions, self.reliability
        return {
            "label": found.labels[k],
            "meaning": found.meanings[k] if found.meanings else None,
            "share": float(found.shares[k]),
            "reliability": again.cosines[k] if again else None,
            "random_reliability": again.chance[k] if again else None,
            "strength": float(found.strengths[k]) if found.strengths is not None else None,
            "step": float(found.step_lengths[k]),
        }

    @property
    def _nulls(self) -> Sequence[Null]:
        return self.judgment.nulls if self.judgment else noise_nulls(self.pca.spectrum)

    @cached_property
    def spectrum(self) -> dict[str, Any]:
        """Return the curve and the eigenvalues, with those of null models, at a few ranks."""
        spectrum, judged = self.pca.spectrum, self.judgment
        places = _places(len(spectrum.explained_variance))
        interval = judged.curve_interval if judged else None
        return {
            "k": [place + 1 for place in places],
            "cumulative": _at(spectrum.cumulative, places),
            "eigenvalues": _at(spectrum.explained_variance, places),
            "interval": [_at(end, places) for end in interval] if interval else None,
            "total": spectrum.total_variance,
            "nulls": [_describe_null(null, places) for null in self._nulls],
            "threshold": list(judged.threshold) if judged and judged.threshold else None,
            "summary": {
                name: value
                for name, value in self.pca.summary().items()
                if isinstance(value, int | float) or value is None
            },
        }


def _places(count: int) -> list[int]:
    """Return at most 160 places of a curve, denser where it begins."""
    every = np.unique(np.rint(np.geomspace(1, count, _MOST_POINTS)).astype(int)) - 1
    return list(range(count)) if count <= _MOST_POINTS else every.tolist()


def _at(values: Any, places: list[int]) -> list[float]:
    array = np.asarray(values, np.float64)
    return [float(f"{array[place]:.6g}") for place in places if place < len(array)]


def _describe_null(null: Null, places: list[int]) -> dict[str, Any]:
    curve, eigenvalues = null.curve_band(), null.eigenvalue_band()

    def ends(band: Any) -> list[list[float]] | None:
        return None if band.lower is None else [_at(band.lower, places), _at(band.upper, places)]

    return {
        "name": null.name,
        "label": null.model.label,
        "curve": _at(curve.middle, places),
        "curve_ends": ends(curve),
        "eigenvalues": _at(eigenvalues.middle, places),
        "eigenvalue_ends": ends(eigenvalues),
    }


def fit_in_stages(
    subject: Subject,
    plan: Plan,
    progress: Progress,
    *,
    other: Subject | None = None,
    labels: bool = True,
) -> Iterator[Fitted]:
    """Yield the directions around an image: first alone, then judged, then labeled.

    Parameters
    ----------
    subject : Subject
    plan : Plan
    progress : called as ``progress(what, done, total)``; may raise to end the work
    other : Subject that is blended with, optional; the finder ``difference`` leads there
    labels : bool, whether to say what each direction changes

    Raises
    ------
    UsageError, ShapeError : a plan that this image or model cannot follow.
    """
    vae, latent = subject.vae, subject.latent
    samples = plan.n_samples or _usual_samples(plan.neighborhood)
    options = plan.sampler_options()
    sampling = SamplingPlan(plan.neighborhood, samples, plan.region, options, plan.seed)
    finder = plan.make_finder(other.latent.image if other else None)
    image = latent.image.path if latent.image and latent.image.path else latent
    hood = draw_neighborhood(vae, latent, image, sampling, progress=progress)
    progress("finding directions", 0, 1)
    how: dict[str, Any] = {"finder": finder, "seed": plan.seed, "progress": progress}
    directions = search_directions(vae, latent, hood, **how)
    reliability = split_half_reliability(vae, latent, hood, directions, finder, seed=plan.seed)
    found = Fitted(plan, hood.sampling, fit_pca(hood), directions, reliability)
    yield found
    judgment = _judge(hood, found, progress)
    found = replace(found, judgment=judgment, complete=not labels)
    yield found
    if labels:
        fresh = resample(vae, hood, progress=_renamed(progress, "sampling again, for labels"))
        named = label_directions(
            subject.decoder, latent, directions, fresh, seed=plan.seed, progress=progress
        )
        yield replace(found, directions=with_labels(directions, named), complete=True)


def _usual_samples(neighborhood: str) -> int | None:
    return USUAL_SAMPLES if SAMPLERS[neighborhood].whole else None


def _judge(hood: Neighborhood, found: Fitted, progress: Progress) -> Judgment | None:
    spectrum = found.pca.spectrum
    progress("drawing null models", 0, 1)
    nulls, left_out = affordable_nulls(hood, spectrum, seconds=_SECONDS_OF_NULLS)
    how: dict[str, Any] = {"seed": found.plan.seed, "left_out": left_out, "progress": progress}
    try:
        return judge(hood, found.pca, nulls=nulls, **how)
    except ShapeError:
        return None  # too few samples for any null


def _renamed(progress: Progress, what: str) -> Callable[[str, int, int], None]:
    return lambda _, done, total: progress(what, done, total)
