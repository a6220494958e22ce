"""Separated attribute predictability (Kumar et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.metrics.varying import are_classes, keep_varying, standardized, varying

_SVM_WEIGHT = 0.01


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike | None = None,
    test_factors: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> float:
    """Return how far the best latent is ahead of the second in predicting a factor, on average.

    Factors that never vary are left out.

    A continuous factor is predicted with r², the squared correlation; classes (integers,
    and floats that are whole and few) with the accuracy of a linear support vector classifier
    (C = 0.01) on the test rows, each latent with the variance 1: its penalty depends on the unit.

    Parameters
    ----------
    codes, test_codes : array, (N, L) and (M, L); without test rows the training rows are used
    factors, test_factors : array, (N, K) and (M, K)

    Raises
    ------
    UsageError : no factor varies.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(size=(1000, 2))
    >>> sap(z, z) > 0.95, sap(np.hstack((z, z)), z)
    (True, 0.0)
    """
    z, v = np.asarray(codes), keep_varying(factors)
    classes = are_classes(v)
    scores = np.empty((z.shape[1], v.shape[1]))
    scores[:, ~classes] = _squared_correlations(z, v[:, ~classes])
    if classes.any():
        test_z = z if test_codes is None else np.asarray(test_codes)
        test_v = v if test_factors is None else np.asarray(test_factors)[:, varying(factors)]
        unit, test_unit = standardized(z, test_z)
        pairs = (unit, v[:, classes]), (test_unit, test_v[:, classes])
        scores[:, classes] = _accuracies(*pairs, seed)
    ordered = np.sort(scores, axis=0)
    second = ordered[-2] if len(ordered) > 1 else np.zeros(v.shape[1])
    return float((ordered[-1] - second).mean())


def _squared_correlations(z: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return r² (L, K)."""
    first, second = z - z.mean(0), v - v.mean(0)
    norms = np.square(first).sum(0)[:, None] * np.square(second).sum(0)
    squares: NDArray[np.float64] = np.divide(
        np.square(first.T @ second), norms, out=np.zeros_like(norms), where=norms > 0
    )
    return squares


def _accuracies(
    train: tuple[NDArray[np.float64], NDArray[Any]],
    test: tuple[NDArray[np.float64], NDArray[Any]],
    seed: int,
) -> NDArray[np.float64]:
    """Return the accuracy (L, K) of each factor's classifier on each latent alone."""
    from sklearn.svm import LinearSVC

    scores = np.zeros((train[0].shape[1], train[1].shape[1]))
    for code, factor in np.ndindex(scores.shape):
        reader = LinearSVC(C=_SVM_WEIGHT, class_weight="balanced", random_state=seed)
        (z, v), (test_z, test_v) = ((x[:, [code]], y[:, factor]) for x, y in (train, test))
        scores[code, factor] = reader.fit(z, v).score(test_z, test_v)
    return scores
