"""Ridge regression of several targets on very long rows, through the Gram matrix of the rows."""

from __future__ import annotations

import torch
from torch import Tensor

from latentlab.machine.threads import threads_for

FOLDS = 5
# As multiples of the rows' mean squared length.
_PENALTIES = torch.logspace(-6, 2, 17, dtype=torch.float64)


def fit_ridge(
    gram: Tensor, targets: Tensor, *, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dual weights, out-of-fold predictions and penalties of ridge regressions.

    The weights of the features are the centered rows' combinations ``dual.T @ rows``. Each target
    has the penalty with the least squared error in 5-fold cross-validation; every fold is
    centered by its own training samples, so that nothing of a left-out sample is seen.

    Parameters
    ----------
    gram : Tensor, (N, N), float64; inner products of the rows, centered or not
    targets : Tensor, (N, m), float64
    generator : torch.Generator, draws the folds

    Returns
    -------
    dual : Tensor, (N, m)
    predictions : Tensor, (N, m), each sample's by the fit that did not see it
    penalties : Tensor, (m,), in units of the Gram matrix
    """
    penalties = _PENALTIES * float(gram.diagonal().mean())
    centered = gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()
    with threads_for(len(gram)):
        everything = _out_of_fold(gram, targets, penalties, generator)
        dual = _solve(centered, targets - targets.mean(0), penalties)
    best = (everything - targets).square().mean(1).argmin(0)
    columns = torch.arange(targets.shape[1])
    return dual[best, :, columns].T, everything[best, :, columns].T, penalties[best]


def fit_patterns(gram: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (m, N) of the centered rows whose sums are the factors' patterns, and lengths.

    Patterns are the least-squares coefficients of the rows on factors (N, m) of zero mean and unit
    variance: what one deviation of each factor changes, others held fixed. The weights of a ridge
    regression the other way around are a filter, which looks away from all that disturbs it (Haufe
    et al. 2014).
    """
    weights: Tensor = torch.linalg.pinv(factors)
    return weights, (weights @ gram * weights).sum(1).clamp_min(0).sqrt()


def fold_of(n_samples: int, folds: int, generator: torch.Generator) -> Tensor:
    """Return the fold (n_samples,), 0 to folds − 1, of each sample; folds differ by one at most."""
    return torch.randperm(n_samples, generator=generator) % folds


def _out_of_fold(
    gram: Tensor, targets: Tensor, penalties: Tensor, generator: torch.Generator
) -> Tensor:
    """Return predictions (penalties, N, m) of every sample by the fits that did not see it."""
    folds = min(FOLDS, len(gram))
    fold = fold_of(len(gram), folds, generator)
    predictions = gram.new_empty(len(penalties), *targets.shape)
    for number in range(folds):
        train, test = fold != number, fold == number
        inner, cross = gram[train][:, train], gram[test][:, train]
        middle = inner.mean(0)
        inner_centered = inner - middle - middle[:, None] + middle.mean()
        cross_centered = cross - middle - cross.mean(1, keepdim=True) + middle.mean()
        center = targets[train].mean(0)
        dual = _solve(inner_centered, targets[train] - center, penalties)
        predictions[:, test] = cross_centered @ dual + center
    return predictions


def _solve(gram: Tensor, targets: Tensor, penalties: Tensor) -> Tensor:
    """Return (gram + penalty)⁻¹ targets for every penalty, (penalties, N, m)."""
    values, vectors = torch.linalg.eigh(gram)
    spread = values.clamp_min(0) + penalties[:, None]
    return torch.matmul(vectors, (vectors.T @ targets) / spread[..., None])
