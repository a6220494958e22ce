"""Disentanglement, completeness, informativeness (Eastwood and Williams 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.metrics.varying import are_classes, keep_varying, standardized, varying


@dataclass(frozen=True)
class DCI:
    """How factors can be read from latents.

    Parameters
    ----------
    disentanglement : float in [0, 1], whether a latent serves one factor only
    completeness : float in [0, 1], whether a factor needs one latent only
    informativeness : float, mean accuracy (classes) or R² (continuous, which may be
        below 0) on the test rows
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike,
    test_factors: ArrayLike,
    *,
    seed: int = 0,
    trees: int = 100,
) -> DCI:
    """Return the scores of gradient-boosted trees that read each factor from the latents.

    Factors that never vary in the training rows are left out.

    Parameters
    ----------
    codes, test_codes : array, (N, L) and (M, L)
    factors, test_factors : array, (N, K) and (M, K); integers are classes, and so
        are floats that are whole and few
    seed : int, of the trees
    trees : int, in each ensemble

    Raises
    ------
    UsageError : no factor varies.
    """
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    z, test_z = _in_order(*standardized(codes, test_codes))
    v, test_v = keep_varying(factors), np.asarray(test_factors)[:, varying(factors)]
    importance, scores = np.empty((z.shape[1], v.shape[1])), []
    for k, classes in enumerate(are_classes(v)):
        column, test_column = v[:, k], test_v[:, k]
        kind = GradientBoostingClassifier if classes else GradientBoostingRegressor
        reader = kind(n_estimators=trees, random_state=seed).fit(z, column)
        importance[:, k] = np.abs(reader.feature_importances_)
        scores.append(float(reader.score(test_z, test_column)))
    quality = float(np.mean(scores))
    return DCI(disentanglement_of(importance), completeness_of(importance), quality)


def _in_order(
    z: NDArray[np.float64], test_z: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latents whose largest value is positive, sorted by their first rows.

    Where several splits are equally good, trees take the first: order and sign would decide.
    """
    rounded = z.round(9)  # of codes on a grid -max is as large, and units change last digits
    signs = np.sign(rounded[np.abs(rounded).argmax(0), np.arange(z.shape[1])])
    signs[signs == 0] = 1
    order = np.lexsort((rounded * signs)[:8][::-1])
    return (z * signs)[:, order], (test_z * signs)[:, order]


def disentanglement_of(importance: NDArray[np.float64]) -> float:
    """Return Σᵢ ρᵢ (1 − H_K(Rᵢ)) of importances (L, K): entropies to the base K.

    Examples
    --------
    >>> disentanglement_of(np.eye(3))
    1.0
    """
    shares = importance.sum(1) / max(importance.sum(), np.finfo(float).tiny)
    return float(shares @ (1 - _relative_entropy(importance)))


def completeness_of(importance: NDArray[np.float64]) -> float:
    """Return Σⱼ ρⱼ (1 − H_L(R·ⱼ)) of importances (L, K): entropies to the base L.

    Examples
    --------
    >>> completeness_of(np.array([[0.5, 0.5], [0.5, 0.5]]))
    0.0
    """
    return disentanglement_of(importance.T)


def _relative_entropy(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's entropy, as a share of the most that so many columns can have."""
    if rows.shape[1] < 2:
        return np.zeros(len(rows))
    sums = rows.sum(1, keepdims=True)
    even = 1 / rows.shape[1]
    shares = np.divide(rows, sums, out=np.full_like(rows, even, dtype=float), where=sums > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies: NDArray[np.float64] = -(shares * logs).sum(1) / np.log(rows.shape[1])
    return entropies
