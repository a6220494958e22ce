"""What directions mean: rank correlations with known factors and with image statistics.

There are two sources, each compared with chance. *Factors*: held-out samples of the neighborhood
are projected onto each direction, and their scores are correlated with each factor.
*Statistics*: images of random mixes of the directions are measured, and each direction's weight
in the mixes is correlated with brightness, contrast and so on.

A correlation alone would give the label "x position" to a direction that moves the light by a
thousandth of the width. A label therefore also says how much changes for one step, and is given
only if that is visible (:mod:`latentlab.directions.amounts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from latentlab.directions.correlations import (
    LABEL_SAMPLES,
    Association,
    Correlations,
    factor_correlations,
    statistic_correlations,
)
from latentlab.errors import UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Progress
from latentlab.loaders.base import LatentVAE

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
    effect : float, how much it changes for one step along the direction, with its sign, in
        ``unit``
    unit : str, such as ``"% of white"``, ``"°"``
    visible : float, the smallest effect that counts
    source : ``"factor"`` (held-out samples), ``"statistic"`` (images of random mixes)
    threshold : float, 95 % of unrelated directions have a largest |ρ| below it
    baseline : float, mean over random directions of their largest |ρ| with the same factors,
        which is large where few factors carry most of the variance; None for statistics
    text : str, what to write beside the direction; with the baseline if that exceeds |ρ|
    factors : factor → ρ, empty where the neighborhood knows none
    statistics : statistic → ρ
    """

    direction: str
    factor: str
    rho: float
    effect: float
    unit: str
    visible: float
    source: str
    threshold: float
    baseline: float | None
    text: str
    factors: Mapping[str, float] = field(default_factory=dict)
    statistics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Return whether the correlation exceeds the threshold and the change is visible."""
        return abs(self.rho) > self.threshold and abs(self.effect) >= self.visible

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
    direction, among the factors that exceed the threshold and change visibly. Without such a
    factor, and for finders that do not look at samples, it names the image statistic with the
    largest |ρ| to the direction's weight in random mixes, under the same two conditions. A
    correlation above the threshold is not yet a meaning: where few factors carry most of the
    variance, random directions correlate with them as well (``baseline``).

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    directions : Directions
    fresh : Neighborhood of held-out samples, optional; see
        :func:`latentlab.neighborhoods.sampling.resample`. Without it only statistics are used.
    n_samples : int, number of mixes
    seed : int
    progress : called as ``progress("labelling", done, total)``

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
    known = [] if fresh is None else [factor_correlations(directions, fresh, seed=seed)]
    measured = statistic_correlations(
        vae, latent, directions, n_samples=n_samples, seed=seed, progress=progress
    )
    sources = [*known, measured]
    # Samples that hardly vary along a direction say little about its effect on the image.
    naming = sources if directions.steps is None else [measured]
    return tuple(_label(name, k, sources, naming) for k, name in enumerate(directions.labels))


def with_labels(directions: Directions, labels: tuple[Label, ...]) -> Directions:
    """Return the directions with their labels' texts as meanings."""
    return replace(directions, meanings=tuple(label.text for label in labels))


def _label(
    direction: str, k: int, sources: list[Correlations], naming: list[Correlations]
) -> Label:
    """Return the first naming source's best name that passes, else the next's, else none."""
    rhos = {source.source: source.of(k) for source in sources}
    ranked = [(source, one) for source in naming for one in source.ranked(k)]
    regular = [(source, one) for source, one in ranked if abs(one.rho) > source.threshold]
    visible = [(source, one) for source, one in regular if one.is_visible]
    source, one = (visible or ranked)[0]
    if visible:
        text = _say(source, one)
    elif regular:
        text = "no measured statistic changes visibly"
    else:
        measured = _MEASURED[source.source] + one.name
        text = f"no known factor (largest ρ {short(one.rho)}, {measured})"
    return Label(
        direction,
        one.name,
        one.rho,
        one.effect,
        one.amount.unit,
        one.amount.visible,
        source.source,
        source.threshold,
        source.baseline,
        text,
        rhos.get("factor", {}),
        rhos.get("statistic", {}),
    )


def _say(source: Correlations, one: Association) -> str:
    # Readers should know where a random direction does as well.
    exceeded = source.baseline is not None and abs(one.rho) < source.baseline
    beside = f", random {short(source.baseline or 0)}" if exceeded else ""
    size = one.amount.write(one.effect)
    return f"≈ {_MEASURED[source.source]}{one.name} (ρ {short(one.rho)}{beside}, {size})"


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
