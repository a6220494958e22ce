"""What directions mean: rank correlations with known factors and with image statistics.

There are two sources, each compared with chance. *Factors*: held-out samples of the neighborhood
are projected onto each direction, and their scores are correlated with each factor.
*Statistics*: images of random mixes of the directions are measured, and each direction's weight
in the mixes is correlated with brightness, contrast and so on. A correlation counts if it exceeds
the 95 % quantile of the largest of all directions with all names when nothing is related, and with
a factor also that of random directions with the same factor.

A score that reads a factor is not yet a direction that changes it. A label therefore also says how
much changes, measured on the decoded images one step either way
(:mod:`latentlab.directions.effects`), and is given only if that is visible
(:mod:`latentlab.directions.amounts`). Otherwise the direction is said to *read* the factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from latentlab.directions import FINDERS
from latentlab.directions.correlations import (
    LABEL_SAMPLES,
    Association,
    Correlations,
    factor_correlations,
    is_above,
    is_visible,
    statistic_correlations,
)
from latentlab.directions.effects import decode_steps, factor_effects, statistic_effects
from latentlab.errors import UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Progress
from latentlab.loaders.base import LatentVAE

_FALSE = 0.05
_MEASURED = {"factor": "", "statistic": "measured "}


@dataclass(frozen=True)
class Label:
    """What one direction correlates with.

    Parameters
    ----------
    direction : str, such as ``"PC 1"``
    factor : str, the factor or statistic with the largest |ρ|, among those that change visibly if
        there are any
    rho : float, its Spearman correlation, with its sign
    effect : float, how much one step along the direction changes it, with its sign, in ``unit``,
        measured on the decoded images; None if it cannot be measured
    unit : str, such as ``"% of white"``, ``"°"``
    visible : float, the smallest effect that counts
    source : ``"factor"`` (held-out samples), ``"statistic"`` (images of random mixes)
    threshold : float; if nothing is related, the largest |ρ| of all directions with all names is
        below it in 95 % of the cases, in 97.5 % if there are two sources
    baseline : float, 95 % of random directions have a smaller |ρ| with this factor, which is large
        where few factors carry most of the variance; None for statistics
    text : str, what to write beside the direction
    factors : factor → ρ, empty where the neighborhood knows none
    statistics : statistic → ρ
    effects : factor or ``"measured "`` and statistic → effect of one step, as far as measured
    """

    direction: str
    factor: str
    rho: float
    effect: float | None
    unit: str
    visible: float
    source: str
    threshold: float
    baseline: float | None
    text: str
    factors: Mapping[str, float] = field(default_factory=dict)
    statistics: Mapping[str, float] = field(default_factory=dict)
    effects: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Return whether the correlation is above chance and the change visible, if measured."""
        above = is_above(self.rho, self.threshold, self.baseline or 0)
        return above and is_visible(self.rho, self.effect, self.visible)

    def describe(self) -> dict[str, Any]:
        """Return the label as JSON-ready facts."""
        return asdict(self)


def label_directions(
    vae: LatentVAE,
    latent: Latent,
    directions: Directions,
    fresh: Neighborhood | None = None,
    *,
    n_samples: int = LABEL_SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Label, ...]:
    """Return what each direction correlates with on held-out samples, or that nothing is known.

    With fresh samples, a label names the factor with the largest |ρ| to their scores along the
    direction, among the factors that are above chance and change visibly. Without such a factor,
    and for finders that do not look at samples, it names the image statistic with the largest |ρ|
    to the direction's weight in random mixes, under the same two conditions. A factor that is above
    chance but does not change visibly is only read: "reads rotation". So is one that a regression's
    weights were fitted to read (``supervised``). If nothing is related, at
    least one direction gets a label in at most 5 % of the cases.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    directions : Directions
    fresh : Neighborhood of held-out samples, optional; see
        :func:`latentlab.neighborhoods.sampling.resample`. Without it only statistics are used.
    n_samples : int, number of mixes; besides, two images a direction, and for known factors two to
        eight a factor, are decoded
    seed : int
    progress : called as ``progress("labeling", done, total)``

    Raises
    ------
    UsageError : fewer than 8 mixes, too few to tell a rank correlation from chance.

    Examples
    --------
    >>> from latentlab import encode, find_directions, load_vae, neighborhood
    >>> vae = load_vae("linear")
    >>> z = encode(vae, "sample:flower", size=64)
    >>> found = find_directions(vae, z, neighborhood(vae, z, "tokens"), n_components=1)
    >>> label_directions(vae, z, found)[0].text
    '≈ measured brightness (ρ 1.00, ±15 %)'
    """
    if n_samples < 8:
        raise UsageError(f"{n_samples} samples for labels", "at least 8", "pass n_samples=64")
    # Samples that hardly vary along a direction say little about its effect on the image.
    reads = fresh is not None and directions.steps is None
    level = 1 - _FALSE / (2 if reads else 1)
    images = decode_steps(vae, latent, directions)
    measured = statistic_correlations(
        vae, latent, directions, n_samples=n_samples, seed=seed, level=level, progress=progress
    )
    sources = [replace(measured, effects=statistic_effects(images, [*measured.amounts]))]
    if fresh is not None:
        read = factor_correlations(directions, fresh, seed=seed, level=level)
        effects = factor_effects(vae, latent, images, fresh, [*read.amounts])
        sources.insert(0, replace(read, effects=effects))
    naming = sources if reads else sources[-1:]
    verb = "reads" if directions.finder in FINDERS and FINDERS[directions.finder].reads else "≈"
    return tuple(_label(name, k, sources, naming, verb) for k, name in enumerate(directions.labels))


def with_labels(directions: Directions, labels: tuple[Label, ...]) -> Directions:
    """Return the directions with their labels' texts as meanings."""
    return replace(directions, meanings=tuple(label.text for label in labels))


def _label(
    direction: str, k: int, sources: list[Correlations], naming: list[Correlations], verb: str
) -> Label:
    """Return the first naming source's best name that passes, else the next's, else none."""
    ranked = [(source, one) for source in naming for one in source.ranked(k)]
    regular = [(source, one) for source, one in ranked if source.is_above_chance(one)]
    visible = [(source, one) for source, one in regular if one.is_visible]
    source, one = (visible or regular or ranked)[0]
    if visible:
        says = verb if source.source == "factor" else "≈"
        text = f"{says} {_words(source, one)} ({_say(one)})"
    elif regular and source.source == "factor":
        text = f"reads {_words(source, one)} ({_say(one)})"
    elif regular:
        text = "no measured statistic changes visibly"
    else:
        text = f"no known factor (largest ρ {short(one.rho)}, {_words(source, one)})"
    rhos = {source.source: source.of(k) for source in sources}
    return Label(
        direction,
        one.name,
        one.rho,
        one.effect,
        one.amount.unit,
        one.amount.visible,
        source.source,
        source.threshold,
        None if source.random is None else one.random,
        text,
        rhos.get("factor", {}),
        rhos.get("statistic", {}),
        _effects(sources, k),
    )


def _effects(sources: list[Correlations], k: int) -> dict[str, float]:
    found = {_name(source, one): one.effect for source in sources for one in source.ranked(k)}
    return {name: effect for name, effect in found.items() if effect is not None}


def _name(source: Correlations, one: Association) -> str:
    return _MEASURED[source.source] + one.name


def _words(source: Correlations, one: Association) -> str:
    return _MEASURED[source.source] + (one.amount.words or one.name)


def _say(one: Association) -> str:
    size = "size not measured" if one.effect is None else one.amount.write(one.effect)
    return f"ρ {short(one.rho)}, {size}"


def short(rho: float) -> str:
    """Return a correlation as papers write it.

    Examples
    --------
    >>> short(-0.973), short(0.214), short(1.0)
    ('−.97', '.21', '1.00')
    """
    digits = f"{abs(rho):.2f}"
    sign = "\N{MINUS SIGN}" if rho < 0 and float(digits) else ""
    return sign + (digits[1:] if digits.startswith("0") else digits)
