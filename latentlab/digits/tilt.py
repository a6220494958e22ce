"""The tilt: the latent dimension that correlates with the slant within every label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latentlab.digits.measure import Codes
from latentlab.digits.morphology import slant_of


@dataclass(frozen=True)
class Tilt:
    """Correlation of the slant with each latent.

    Parameters
    ----------
    dimension : int, counting from zero; the latent with the highest ``rho``
    rho : for each latent, |Spearman| with the slant within a label, averaged over labels
    worst : float, the lowest ρ of ``dimension`` over labels, positive if its sign is the mean's
    sign : +1 if a larger z leans further to the right, else −1
    """

    dimension: int
    rho: tuple[float, ...]
    worst: float
    sign: int


def find_tilt(codes: Codes, pictures: Tensor) -> Tilt:
    """Return the tilt, given pictures (N, 1, H, W) in [0, 1] and their codes."""
    rho = within_class_spearman(
        codes.mean.numpy(), {"slant": slant_of(pictures.numpy())}, codes.labels.numpy()
    )[:, :, 0]
    mean = np.abs(rho).mean(0)
    dimension = int(mean.argmax())
    sign = 1 if rho[:, dimension].mean() >= 0 else -1
    return Tilt(dimension, tuple(mean.tolist()), float((sign * rho[:, dimension]).min()), sign)


def within_class_spearman(
    z: ArrayLike, factors: dict[str, NDArray[np.float64]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return Spearman's ρ (labels, L, factors), within each label that occurs.

    It is 0 if a latent or factor does not vary. Pictures with a factor that is NaN are left out.

    Parameters
    ----------
    z : array, (N, L)
    factors : name → values (N,)
    labels : (N,)

    Examples
    --------
    >>> z = np.array([[0.0], [1.0], [2.0], [5.0], [4.0], [3.0]])
    >>> values = {"slant": np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])}
    >>> within_class_spearman(z, values, np.array([0, 0, 0, 1, 1, 1])).round(6).ravel().tolist()
    [1.0, -1.0]
    """
    codes = np.asarray(z, np.float64)
    columns = np.stack(list(factors.values()), axis=1)
    whole = np.isfinite(columns).all(1)
    return np.stack(
        [
            _spearman(codes[whole & (labels == label)], columns[whole & (labels == label)])
            for label in np.unique(labels)
        ]
    )


def _spearman(z: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's ρ (L, F) of each column of z (n, L) with each of values (n, F)."""
    from scipy.stats import rankdata

    if len(z) < 2:
        return np.zeros((z.shape[1], values.shape[1]))
    first, second = (rankdata(array, axis=0) for array in (z, values))
    first, second = (ranks - ranks.mean(0) for ranks in (first, second))
    norms = np.linalg.norm(first, axis=0)[:, None] * np.linalg.norm(second, axis=0)
    rho: NDArray[np.float64] = np.divide(
        first.T @ second, norms, out=np.zeros_like(norms), where=norms > 0
    )
    return rho
