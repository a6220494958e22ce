"""Modularity, compactness and explicitness from information (Hsu et al. 2023, InfoMEC)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlab.errors import ShapeError
from latentlab.metrics.mutual_information import BINS, discretize, entropy, mutual_information
from latentlab.metrics.varying import keep_varying

Array = NDArray[np.float64]
_FOLDS = 5


@dataclass(frozen=True)
class InfoMEC:
    """Three scores, each 0 to 1.

    Parameters
    ----------
    modularity : float, whether each latent tells about one factor alone
    compactness : float, whether each factor is told by one latent alone
    explicitness : float, what a linear classifier reads off all latents, as a share of the entropy
        of the classes of at least ten rows; NaN if no factor has two of them
    """

    modularity: float
    compactness: float
    explicitness: float


def infomec(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> InfoMEC:
    """Return InfoM, InfoC and InfoE of codes (N, L) and factors (N, K).

    Information is counted in equal-width bins and divided by each factor's entropy. Factors and
    codes that never vary are left out.

    Raises
    ------
    ShapeError : other numbers of rows.
    UsageError : no factor varies.

    Examples
    --------
    >>> grid = np.indices((10, 10, 3)).reshape(3, -1).T
    >>> found = infomec(grid, grid)
    >>> round(found.modularity, 6), round(found.compactness, 6), found.explicitness > 0.5
    (1.0, 1.0, True)
    """
    z, v = np.asarray(codes), np.asarray(factors)
    if z.ndim != 2 or v.ndim != 2 or len(z) != len(v):
        raise ShapeError(
            f"codes {z.shape} and factors {v.shape}", "(N, L) and (N, K)", "pass as many rows"
        )
    z, v = keep_varying(z), keep_varying(v)
    classes = discretize(v, bins=bins)
    information = mutual_information(discretize(z, bins=bins), classes) / entropy(classes)
    return InfoMEC(concentration(information), concentration(information.T), _explicit(z, classes))


def concentration(information: Array) -> float:
    """Return how far each row (L, K) lies in one column, 0 for evenly to 1, on average.

    Examples
    --------
    >>> concentration(np.eye(3)), concentration(np.ones((3, 3)))
    (1.0, 0.0)
    """
    rows = information[information.sum(1) > 0]
    columns = information.shape[1]
    if columns < 2 or not len(rows):
        return 1.0 if len(rows) else 0.0
    share = float((rows.max(1) / rows.sum(1)).mean())
    return float((share - 1 / columns) / (1 - 1 / columns))


def _explicit(z: Array, classes: NDArray[np.int64]) -> float:
    """Return 1 − held-out cross-entropy over entropy, not below 0, mean over factors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    scores = []
    for column in classes.T:
        names, counts = np.unique(column, return_counts=True)
        # A class that may be missing from a fold cannot be predicted there.
        kept = np.isin(column, names[counts >= 2 * _FOLDS])
        known = column[kept]
        if len(np.unique(known)) < 2:
            continue
        chances = cross_val_predict(model, z[kept], known, cv=folds, method="predict_proba")
        loss = log_loss(known, chances, labels=np.unique(known))
        scores.append(max(0.0, 1 - loss / float(entropy(known[:, None])[0])))
    return float(np.mean(scores)) if scores else float("nan")
