"""How much of a neighborhood its known factors explain, and what each of them changes.

A regression of the samples on the factors, the other way around than a finder of directions: its
coefficients are the *pattern* of each factor, along which the samples change with it (Haufe et
al. 2014). The weights that read a factor off a sample are a filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from latentlab.directions.additivity import FEWEST, MODELS, Share, share_of, standardize
from latentlab.directions.ridge import fit_patterns, fit_ridge
from latentlab.directions.supervised import varying_factors
from latentlab.errors import ShapeError
from latentlab.figures.tables import frame_of, html_table
from latentlab.latents import Directions, Neighborhood
from latentlab.linalg.sums import column_moments, combine_rows, gram_matrix, project_rows
from latentlab.machine.threads import threads_for
from latentlab.neighborhoods import sampler_of


@dataclass(frozen=True, eq=False, repr=False)
class FactorModel:
    """A neighborhood as a sum of what its factors do.

    Parameters
    ----------
    names : m factors that vary
    shares : ``"linear"``, ``"cubic"``, ``"pairwise"`` → Share, each on samples left out of the fit
    patterns : Directions, (m, C, h, w); what one standard deviation of each factor changes in the
        latent, others held fixed. Walk along them with :func:`latentlab.traverse`.
    mean : Tensor, (n_features,), float64, of the samples
    weights : Tensor, (m, n_features), float32, unit rows that read each factor off a sample
    scales, offsets : Tensor, (m,), float64; a factor is read as scale · score + offset
    gains : whether each factor is a gain, which is read as a logarithm
    constant : factors that are known but never vary, left out
    """

    names: tuple[str, ...]
    shares: Mapping[str, Share]
    patterns: Directions
    mean: Tensor
    weights: Tensor
    scales: Tensor
    offsets: Tensor
    gains: tuple[bool, ...]
    constant: tuple[str, ...] = ()

    def transform(self, rows: Tensor) -> Tensor:
        """Return the factors (n, m), float64, read off rows (n, n_features), in their own units.

        Ridge regression shrinks what it reads toward the mean.

        Raises
        ------
        ShapeError : rows of another length.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise ShapeError(
                f"rows of shape {tuple(rows.shape)}",
                f"(n, {len(self.mean)})",
                "pass samples of the same neighborhood",
            )
        read = self.scales * project_rows(rows, self.mean, self.weights.double().T) + self.offsets
        gains = torch.tensor(self.gains)
        return torch.where(gains, read.exp(), read)

    def summary(self) -> dict[str, Any]:
        """Return the shares and the factors, JSON-ready: ``additivity`` in ``pca.json``."""
        return {
            "factors": list(self.names),
            "constant_factors": list(self.constant),
            "shares": [{"model": name, **asdict(share)} for name, share in self.shares.items()],
        }

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with a row for each regression.

        ``model``, the share ``value`` of left-out variance that it explains, the ends ``lower``
        and ``upper`` of its 95 % interval, its ``terms``, and ``half``, the share with half of the
        samples.
        """
        return frame_of(self.summary()["shares"])

    def _repr_html_(self) -> str:
        heads = ("regression", "share explained", "lower", "upper", "terms", "half the samples")
        rows = [tuple(row.values()) for row in self.summary()["shares"]]
        constant = f"Never varied: {', '.join(self.constant)}." if self.constant else ""
        title = f"Variance of left-out samples explained by {', '.join(self.names)}"
        return html_table(heads, rows, title=title, notes=[constant])

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {share.value:.0%}" for name, share in self.shares.items())
        return f"FactorModel({len(self.names)} factors explain {shares} of left-out variance)"


def factor_model(hood: Neighborhood, *, seed: int = 0) -> FactorModel:
    """Return how much of a neighborhood its factors explain, and the pattern of each.

    The samples are regressed on the factors: linearly, with squares and cubes, and with the
    products of all pairs. Shares are those of the variance of each sample by the fit without it
    (leave one out, exact), with the ridge penalty that leaves the least error. They say how far
    the latents add up from known causes, which no spectrum can tell. With few samples they are
    lower than with many, above all those of many terms.

    Parameters
    ----------
    hood : Neighborhood with known factors, of at least 8 samples, such as ``augment``; rows
        (n, n_features) in model-space units
    seed : int, of the folds that choose how weights are shrunk

    Returns
    -------
    FactorModel : ``shares``, ``patterns``, ``transform``

    Raises
    ------
    UsageError : no factor is known, or none varies.
    ShapeError : too few samples, or more than one row from a latent.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("linear")
    >>> z = latentlab.encode(vae, "sample:flower", size=64)
    >>> hood = latentlab.neighborhood(vae, z, n_samples=64, blur=0, shift=0, rotation=0, zoom=0)
    >>> model = latentlab.factor_model(hood)
    >>> model.names, round(model.shares["cubic"].value, 1)
    (('brightness', 'contrast', 'saturation', 'hue'), 1.0)
    """
    names, values = varying_factors(hood)
    if len(values) != hood.n_samples or hood.n_samples < FEWEST:
        raise ShapeError(
            f"{hood.n_samples} rows with {len(values)} values of each factor",
            f"at least {FEWEST} rows, one for each value",
            "choose a neighborhood of whole latents and raise the number of samples",
        )
    generator = torch.Generator().manual_seed(seed)
    factors = standardize(values)
    mean, gram = gram_matrix(hood.samples)
    shares = _shares(gram, factors)
    dual, _, _ = fit_ridge(gram, values, generator=generator)
    weights = combine_rows(dual.T, hood.samples, mean)
    # Unit rows lose the length of the weights; the fitted values bring it back.
    scores, fitted = project_rows(hood.samples, mean, weights.double().T), gram @ dual
    scales = (scores * fitted).sum(0) / scores.square().sum(0)
    amounts = sampler_of(hood).amounts
    return FactorModel(
        names=names,
        shares=shares,
        patterns=_patterns(hood, names, factors, mean, gram),
        mean=mean,
        weights=weights,
        scales=scales,
        offsets=values.mean(0),
        gains=tuple(name in amounts and amounts[name].gain for name in names),
        constant=tuple(name for name in hood.factors if name not in names),
    )


def explained_shares(samples: Tensor, hood: Neighborhood) -> dict[str, Share]:
    """Return the shares of :func:`factor_model` for other rows (n, p), drawn with these factors.

    Empty for fewer than 8 samples, of which there is no regression.
    """
    if len(samples) < FEWEST:
        return {}
    _, values = varying_factors(hood)
    return _shares(gram_matrix(samples)[1], values)


def _shares(gram: Tensor, factors: Tensor) -> dict[str, Share]:
    with threads_for(len(gram)):
        return {name: share_of(gram, factors, name) for name in MODELS}


def explain_factors(hood: Neighborhood, *, seed: int = 0) -> FactorModel | None:
    """Return the factor model of a neighborhood whose factors can be rendered; None for others."""
    known = sampler_of(hood).is_rendered and hood.factors and hood.layout.grid is None
    return factor_model(hood, seed=seed) if known and hood.n_samples >= FEWEST else None


def _patterns(
    hood: Neighborhood, names: tuple[str, ...], factors: Tensor, mean: Tensor, gram: Tensor
) -> Directions:
    """Return unit directions whose step is the change for one deviation of a factor."""
    weights, lengths = fit_patterns(gram, factors)
    rows = combine_rows(weights, hood.samples, mean)
    _, variances = column_moments(hood.samples)
    scores = project_rows(hood.samples, mean, rows.double().T)
    return Directions(
        vectors=torch.stack([hood.layout.lift(row) for row in rows]),
        deviations=scores.std(0),
        shares=lengths.square() / float(variances.sum()),
        labels=names,
        finder="factor-model",
        basis=f"patterns of factors in the {hood.description}",
        rows=rows,
        sampling=hood.sampling,
        steps=lengths,
        step_unit="σ of the factor",
    )
