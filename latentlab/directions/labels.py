"""What directions mean: rank correlations with known factors and with what the picture shows.

Two sources, each beside what chance gives. *Factors*: fresh samples of the neighborhood, that no
finder has seen, are projected onto each direction; their scores are correlated with each factor.
*Statistics*: pictures of random mixes of the directions are measured; each direction's part in
the mix is correlated with brightness, contrast and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from latentlab.directions.base import random_rows
from latentlab.directions.supervised import standardized_factors
from latentlab.encoder import decode_each
from latentlab.errors import UsageError
from latentlab.latents import Directions, Latent, Neighborhood, Progress
from latentlab.loaders.base import LatentVAE
from latentlab.metrics.correlation import chance_threshold, spearman
from latentlab.metrics.picture_statistics import measure_pictures
from latentlab.neighborhoods import neighborhood as sample_neighborhood
from latentlab.scatter import project_rows

LABEL_SAMPLES = 64
_RANDOM_DIRECTIONS = 64


@dataclass(frozen=True)
class Label:
    """What one direction goes along with.

    Parameters
    ----------
    direction : str, such as ``"PC 1"``
    factor : str, the factor or statistic of the largest |ρ|
    rho : float, its Spearman correlation, with its sign
    source : ``"factor"`` (held-out samples), ``"statistic"`` (pictures of random mixes)
    threshold : float, the largest |ρ| of an unrelated direction stays below it in 95 of 100
    baseline : float, mean over random directions of their largest |ρ| with the same factors,
        which is large where few factors carry most of the variance; None for statistics
    text : str, what to write beside the direction; with the baseline where that is larger
    factors : factor → ρ, empty where the neighborhood knows none
    statistics : statistic → ρ
    """

    direction: str
    factor: str
    rho: float
    source: str
    threshold: float
    baseline: float | None
    text: str
    factors: Mapping[str, float] = field(default_factory=dict)
    statistics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Return whether the correlation exceeds what chance gives."""
        return abs(self.rho) > self.threshold

    def describe(self) -> dict[str, Any]:
        """Return the label as JSON-ready facts."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Correlations:
    """Rank correlations of directions with one kind of things that vary.

    Parameters
    ----------
    source : ``"factor"`` or ``"statistic"``
    names : what was correlated with
    rho : Tensor, (k, len(names)), float64
    threshold : float, 95 % of unrelated directions have a largest |ρ| below it
    baseline : float, mean largest |ρ| of random directions, where it costs nothing to know
    """

    source: str
    names: tuple[str, ...]
    rho: Tensor
    threshold: float
    baseline: float | None = None

    def of(self, k: int) -> dict[str, float]:
        """Return name → ρ of direction k."""
        return dict(zip(self.names, self.rho[k].tolist(), strict=True))


def label(
    vae: LatentVAE,
    latent: Latent,
    directions: Directions,
    fresh: Neighborhood | None = None,
    *,
    samples: int = LABEL_SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Label, ...]:
    """Return what each direction goes along with, or that it is nothing known.

    Where fresh samples are given, the factor that correlates most with their scores along the
    direction, if above chance; else, and for finders that do not look at samples, the picture
    statistic that correlates most with the direction's part in random mixes. Above chance is not
    yet a meaning: where few factors carry most of the variance, random directions correlate with
    them as well (``baseline``).

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    directions : Directions
    fresh : Neighborhood, optional; samples that no finder has seen, see :func:`held_out`. Without
        it only statistics are used.
    samples : int, how many mixes
    seed : int
    progress : called as ``progress("labelling", done, total)``

    Raises
    ------
    UsageError : fewer than 8 samples, from which no rank correlation can be told from chance.

    Examples
    --------
    >>> from latentlab import encode, find, load_vae, neighborhood
    >>> vae = load_vae("linear")
    >>> z = encode(vae, "sample:flower", size=64)
    >>> found = find(vae, z, neighborhood(vae, z, "tokens"), 1)
    >>> label(vae, z, found)[0].text
    '≈ measured brightness (ρ 1.00)'
    """
    if samples < 8:
        raise UsageError(f"{samples} samples for labels", "at least 8", "leave it at 64")
    sources: list[Correlations] = []
    if fresh is not None:
        sources.append(factor_correlations(directions, fresh, seed=seed))
    sources.append(
        statistic_correlations(
            vae, latent, directions, samples=samples, seed=seed, progress=progress
        )
    )
    # Samples that hardly vary along a direction say little of what it does to the picture.
    naming = sources if directions.steps is None else sources[-1:]
    return tuple(_label(name, k, sources, naming) for k, name in enumerate(directions.labels))


def with_labels(directions: Directions, labels: tuple[Label, ...]) -> Directions:
    """Return the directions with their labels' texts as meanings."""
    return replace(directions, meanings=tuple(label.text for label in labels))


def held_out(
    vae: LatentVAE,
    neighborhood: Neighborhood,
    samples: int = LABEL_SAMPLES,
    progress: Progress | None = None,
) -> Neighborhood | None:
    """Return fresh samples of a neighborhood, from the next seed; None where it knows no factors.

    None as well where the sampler draws nothing at random: its samples would be the same again.
    """
    if not neighborhood.factors:
        return None
    options = {name: value for name, value in neighborhood.options.items() if name != "region"}
    region = neighborhood.options.get("region")
    fresh = sample_neighborhood(
        vae,
        neighborhood.origin,
        neighborhood.name,
        samples=samples,
        seed=(neighborhood.seed + 1) % 2**63,
        region=tuple(region) if region else None,
        progress=progress,
        **options,
    )
    seen = neighborhood.samples[: fresh.n_samples]
    return None if torch.equal(fresh.samples[: len(seen)], seen) else fresh


def factor_correlations(
    directions: Directions, fresh: Neighborhood, *, seed: int = 0
) -> Correlations:
    """Return ρ between the scores of fresh samples along each direction and each factor."""
    names, values = standardized_factors(fresh.factors)
    rho = spearman(scores_along(directions, fresh), values)
    generator = torch.Generator().manual_seed(seed)
    count = min(_RANDOM_DIRECTIONS, fresh.n_features)
    chance = replace(directions, rows=random_rows(count, fresh.n_features, generator))
    baseline = spearman(scores_along(chance, fresh), values).abs().amax(1).mean()
    return Correlations("factor", names, rho, _threshold(values, seed), float(baseline))


def scores_along(directions: Directions, neighborhood: Neighborhood) -> Tensor:
    """Return the samples' places (N, k), float64, along each direction, from their mean."""
    if directions.rows is None or directions.rows.shape[1] != neighborhood.n_features:
        raise UsageError(
            f"{directions!r} and {neighborhood!r}",
            "directions that were found in this neighborhood's features",
            "find them with latentlab.find in the same neighborhood",
        )
    mean = neighborhood.samples.double().mean(0)
    return project_rows(neighborhood.samples, mean, directions.rows.double().T)


def statistic_correlations(
    vae: LatentVAE,
    latent: Latent,
    directions: Directions,
    *,
    samples: int = LABEL_SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Correlations:
    """Return ρ between each direction's part in random mixes and what their pictures show.

    The latents are z + Σ a_j s_j v_j, s_j a walk's step (σ_j), with standard normal a_j, so that
    every direction is judged by what it adds while all others vary as well. The a_j are
    uncorrelated in the sample, so that none is credited with what another does.
    """
    parts = _uncorrelated_parts(samples, len(directions.vectors), seed)
    measured = _measure_mixes(vae, latent, directions, parts, progress)
    names, values = tuple(measured), torch.stack(list(measured.values()), 1)
    return Correlations("statistic", names, spearman(parts, values), _threshold(values, seed))


def _uncorrelated_parts(samples: int, k: int, seed: int) -> Tensor:
    """Return normal numbers (samples, k) of mean 0 and variance 1, uncorrelated while k allows."""
    parts = torch.randn(samples, k, generator=torch.Generator().manual_seed(seed))
    if k >= samples:
        return parts
    centered = parts - parts.mean(0)
    basis, triangle = torch.linalg.qr(centered)
    uncorrelated: Tensor = basis * triangle.diagonal().sign() * (samples - 1) ** 0.5
    return uncorrelated


def _measure_mixes(
    vae: LatentVAE,
    latent: Latent,
    directions: Directions,
    parts: Tensor,
    progress: Progress | None,
) -> dict[str, Tensor]:
    """Return statistic → values (samples,) of the pictures of mixes; hues as turns from z's."""
    lengths = directions.step_lengths.to(directions.vectors)
    steps = directions.vectors * lengths[:, None, None, None]
    center = measure_pictures(next(decode_each(vae, latent.values[None]))[None])
    each = []
    for done, part in enumerate(parts, 1):
        mixed = latent.values + torch.einsum("k,kchw->chw", part, steps)
        each.append(measure_pictures(next(decode_each(vae, mixed[None]))[None]))
        if progress:
            progress("labelling", done, len(parts))
    measured = {name: torch.cat([one[name] for one in each]) for name in center}
    measured["hue"] = (measured["hue"] - center["hue"] + 180) % 360 - 180
    return measured


def _threshold(values: Tensor, seed: int) -> float:
    return chance_threshold(values, generator=torch.Generator().manual_seed(seed))


def _label(
    direction: str, k: int, sources: list[Correlations], naming: list[Correlations]
) -> Label:
    """Return the first naming source's best name if above chance, else the next's, else none."""
    rhos = {source.source: source.of(k) for source in sources}
    best = [_largest(source.of(k)) for source in naming]
    known = [index for index, source in enumerate(naming) if abs(best[index][1]) > source.threshold]
    chosen = known[0] if known else 0
    (name, rho), source = best[chosen], naming[chosen]
    measured = "measured " if source.source == "statistic" else ""
    # A careful reader wants to know where a random direction does as well.
    exceeded = source.baseline is not None and abs(rho) < source.baseline
    beside = f", random {short(source.baseline or 0)}" if exceeded else ""
    text = (
        f"≈ {measured}{name} (ρ {short(rho)}{beside})"
        if known
        else f"no known factor (largest ρ {short(rho)}, {measured}{name})"
    )
    return Label(
        direction,
        name,
        rho,
        source.source,
        source.threshold,
        source.baseline,
        text,
        rhos.get("factor", {}),
        rhos.get("statistic", {}),
    )


def _largest(rhos: Mapping[str, float]) -> tuple[str, float]:
    # Equal up to rounding, such as brightness and the center of all light: the first is simpler.
    return max(rhos.items(), key=lambda item: round(abs(item[1]), 6))


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
