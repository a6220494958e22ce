"""How much of samples a regression on their factors explains of samples that it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

MODELS = ("linear", "cubic", "pairwise")
"""Linear terms; with squares and cubes; with those and the products of all pairs."""


FEWEST = 8
"""Samples that a regression takes."""

_GROUPS = 20
_LEAST = 1e-6
_CONSTANT = 1e-12
_PENALTIES = torch.cat([torch.zeros(1), torch.logspace(-4, 1, 11)]).double()


@dataclass(frozen=True)
class Share:
    """The share of the variance of left-out samples that a regression explains.

    Parameters
    ----------
    value : float, at most 1; negative if the regression predicts worse than the mean
    lower, upper : float, 95 % interval of what a regression fitted to so many samples explains of
        new ones
    terms : int, how many terms the regression has
    half : float, mean share of regressions fitted to either half of the samples; None for fewer
        than 16
    """

    value: float
    lower: float
    upper: float
    terms: int
    half: float | None = None


def terms_of(factors: Tensor, model: str) -> Tensor:
    """Return the terms (n, p) of a regression on standardized factors (n, m), standardized."""
    return standardize(_columns_of(factors, model))


def _columns_of(factors: Tensor, model: str) -> Tensor:
    columns = [factors]
    if model != "linear":
        columns += [factors.square(), factors.pow(3)]
    if model == "pairwise":
        pairs = [factors[:, i] * factors[:, j] for i, j in combinations(range(factors.shape[1]), 2)]
        columns += [column[:, None] for column in pairs]
    return torch.cat(columns, 1)


def share_of(gram: Tensor, factors: Tensor, model: str) -> Share:
    """Return the share that a ridge regression explains of samples that were left out.

    Parameters
    ----------
    gram : Tensor, (n, n), inner products of the centered samples
    factors : Tensor, (n, m)
    model : one of :data:`MODELS`
    """
    whole = _part_of(gram, factors, model)
    low, high = _interval(gram, factors, model, whole)
    terms = terms_of(factors[:2], model).shape[1]
    # A symmetric interval of a share near 1 reaches beyond all that there is to explain.
    return Share(whole, low, max(whole, min(1.0, high)), terms, _half(gram, factors, model))


def _half(gram: Tensor, factors: Tensor, model: str) -> float | None:
    """Return the mean share of the even and of the odd samples, each fitted by itself."""
    even = torch.arange(len(factors)) % 2 == 0
    if len(factors) < 2 * FEWEST:
        return None
    return sum(_part_of(gram, factors, model, kept) for kept in (even, ~even)) / 2


def _part_of(gram: Tensor, factors: Tensor, model: str, kept: Tensor | None = None) -> float:
    """Return the share of left-out samples that a regression on some of the samples explains."""
    if kept is not None:
        gram, factors = centered(gram[kept][:, kept]), factors[kept]
    return leave_one_out(gram, terms_of(standardize(factors), model)).share


def standardize(columns: Tensor) -> Tensor:
    """Return columns (n, m) of mean 0 and deviation 1; constant ones are 0."""
    return (columns - columns.mean(0)) / _scales_of(columns)


def _scales_of(columns: Tensor) -> Tensor:
    """Return the deviations (m,) of columns; 1 of constant ones."""
    deviations = columns.std(0)
    constant = deviations <= _CONSTANT * columns.abs().amax(0)
    return torch.where(constant, torch.ones_like(deviations), deviations)


def centered(gram: Tensor) -> Tensor:
    """Return the inner products (n, n) of the same samples around their own mean."""
    once = gram - gram.mean(0)
    return once - once.mean(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Squared errors (n,) of the samples that were left out, and the penalty that left the least.

    Parameters
    ----------
    errors, whole : Tensor, (n,), float64, of the regression and of the mean alone
    penalty : float, added to the squared singular values of the terms; None if the mean was best
    basis, values, axes : Tensor, (n, r), (r,), (r, p), singular vectors and values of the terms
    """

    errors: Tensor
    whole: Tensor
    penalty: float | None
    basis: Tensor
    values: Tensor
    axes: Tensor

    @property
    def share(self) -> float:
        """Return the share of the variance that the regression explains, at most 1."""
        return 1 - float(self.errors.sum() / self.whole.sum())


def leave_one_out(gram: Tensor, terms: Tensor) -> LeftOut:
    """Return how well each sample is predicted by a ridge regression on the others.

    The error of a sample that was left out is its residual over 1 − h, where h is its leverage
    (Allen 1974); that of the mean alone is its distance from the mean over 1 − 1/n.
    """
    n = len(terms)
    basis, values, axes = torch.linalg.svd(terms, full_matrices=False)
    kept = values > 1e-9 * values[0]
    basis, values, axes = basis[:, kept], values[kept], axes[kept]
    whole = gram.diagonal() / (1 - 1 / n) ** 2
    projected = gram @ basis
    penalties = _PENALTIES * n
    shrunk = values.square() / (values.square() + penalties[:, None])
    leverage = shrunk @ basis.T.square() + 1 / n
    # ‖x − Hx‖² of every sample through inner products alone.
    hats = basis * shrunk[:, None]
    again = ((hats @ (basis.T @ projected)) * hats).sum(2)
    residual = gram.diagonal() - 2 * shrunk @ (basis * projected).T + again
    errors = residual.clamp_min(0) / (1 - leverage).clamp_min(_LEAST).square()
    errors[leverage.amax(1) > 1 - _LEAST] = math.inf
    best = int(errors.sum(1).argmin())
    if float(errors[best].sum()) >= float(whole.sum()):
        return LeftOut(whole, whole, None, basis, values, axes)
    return LeftOut(errors[best], whole, float(penalties[best]), basis, values, axes)


def _interval(gram: Tensor, factors: Tensor, model: str, whole: float) -> tuple[float, float]:
    """Return a 95 % interval of a share: groups left out in turn (jackknife), Student's t.

    Each part is fitted again, since other samples give another regression, too. Samples that are
    left out one at a time have had their part in the scale of the terms, which a far-out sample
    enlarges; new samples have not, and groups left out with everything that is estimated have not
    either. The interval spans both shares.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    count = min(len(factors), _GROUPS)
    group = torch.arange(len(factors)) % count
    parts = [_without(gram, factors, model, group == number) for number in range(count)]
    without, errors, distances = torch.tensor(parts, dtype=torch.float64).unbind(1)
    deviation = float((without - without.mean()).square().sum() * (count - 1) / count) ** 0.5
    half = float(stdtrit(count - 1, 0.975)) * deviation
    apart = 1 - float(errors.sum() / distances.sum())
    return min(whole, apart) - half, max(whole, apart) + half


def _without(gram: Tensor, factors: Tensor, model: str, new: Tensor) -> tuple[float, float, float]:
    """Return the share of a regression without some samples, and its errors on just those.

    Means and scales of factors and terms, the penalty and the mean are those of the other samples.
    The errors are summed and squared; beside them stand those of the mean alone.
    """
    known, inner = factors[~new], gram[~new][:, ~new]
    mean, scale = known.mean(0), _scales_of(known)
    columns, others = (_columns_of((one - mean) / scale, model) for one in (known, factors[new]))
    fit = leave_one_out(centered(inner), standardize(columns))
    weights = torch.full((len(others), len(known)), 1 / len(known), dtype=gram.dtype)
    whole = _distances(gram, weights, new)
    if fit.penalty is None:
        return fit.share, whole, whole
    shrunk = fit.values / (fit.values.square() + fit.penalty)
    place = (others - columns.mean(0)) / _scales_of(columns)
    weights = weights + (place @ fit.axes.T * shrunk) @ fit.basis.T
    return fit.share, _distances(gram, weights, new), whole


def _distances(gram: Tensor, weights: Tensor, new: Tensor) -> float:
    """Return the summed squared distances of samples from weighted sums of the others."""
    cross = (weights * gram[new][:, ~new]).sum()
    inside = ((weights @ gram[~new][:, ~new]) * weights).sum()
    return float(gram.diagonal()[new].sum() - 2 * cross + inside)
