"""The tilt: the latent dimension that correlates with the slant within every label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.measure import Codes
from latentlab.digits.morphology import slant_of
from latentlab.metrics.correlation import spearman


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


def find_tilt(codes: Codes, images: Tensor) -> Tilt:
    """Return the tilt, given images (N, 1, H, W) in [0, 1] and their codes."""
    rho = within_class_spearman(codes, {"slant": slant_of(images.numpy())})[:, :, 0]
    mean = np.abs(rho).mean(0)
    dimension = int(mean.argmax())
    sign = 1 if rho[:, dimension].mean() >= 0 else -1
    return Tilt(dimension, tuple(mean.tolist()), float((sign * rho[:, dimension]).min()), sign)


def within_class_spearman(
    codes: Codes, factors: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return Spearman's ρ (labels, L, factors) of posterior means, within each label that occurs.

    It is 0 if a latent or factor does not vary. Images with a factor that is NaN are left out.

    Parameters
    ----------
    codes : Codes of N images
    factors : name → values (N,)

    Examples
    --------
    >>> mean = torch.tensor([[0.0], [1.0], [2.0], [5.0], [4.0], [3.0]])
    >>> codes = Codes(mean, mean, torch.tensor([0, 0, 0, 1, 1, 1]))
    >>> values = {"slant": np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])}
    >>> within_class_spearman(codes, values).round(6).ravel().tolist()
    [1.0, -1.0]
    """
    columns = torch.from_numpy(np.stack(list(factors.values()), axis=1))
    whole = columns.isfinite().all(1)
    groups = [whole & (codes.labels == label) for label in sorted(set(codes.labels.tolist()))]
    return np.stack([spearman(codes.mean[group], columns[group]).numpy() for group in groups])
