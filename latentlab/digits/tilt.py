"""The tilt: the latent dimension that correlates with the slant within every label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlab.digits.measure import Codes
from latentlab.digits.morphology import slant_of
from latentlab.digits.objective import active_latents
from latentlab.metrics.correlation import spearman, unit_ranks

_SHUFFLES = 200


@dataclass(frozen=True)
class Tilt:
    """Correlation of the slant with each latent.

    Parameters
    ----------
    dimension : int, counting from zero; the active latent with the highest ``rho``. None if all
        latents have collapsed, or if that ``rho`` is not above ``threshold``
    rho : for each latent, |Spearman| with the slant within a label, averaged over labels
    worst : float, the lowest ρ of ``dimension`` over labels, positive if its sign is the mean's
    sign : +1 if a larger z leans further to the right, else −1
    threshold : float, 95 % of codes whose images were shuffled within labels have a largest ``rho``
        below it
    """

    dimension: int | None
    rho: tuple[float, ...]
    worst: float
    sign: int
    threshold: float


def find_tilt(codes: Codes, images: Tensor) -> Tilt:
    """Return the tilt, given images (N, 1, H, W) in [0, 1] and their codes."""
    return tilt_of(codes, slant_of(images.numpy()))


def tilt_of(codes: Codes, slant: NDArray[np.float64], *, seed: int = 0) -> Tilt:
    """Return the tilt, given the slant (N,) of the images and their codes."""
    rho = within_class_spearman(codes, {"slant": slant})[:, :, 0]
    mean = np.abs(rho).mean(0)
    threshold = _threshold(codes, slant, seed)
    best = int(np.where(active_latents(codes.mean).numpy(), mean, -1).argmax())
    sign = 1 if rho[:, best].mean() >= 0 else -1
    worst = float((sign * rho[:, best]).min())
    named = active_latents(codes.mean)[best] and mean[best] > threshold
    return Tilt(best if named else None, tuple(mean.tolist()), worst, sign, threshold)


def _threshold(codes: Codes, slant: NDArray[np.float64], seed: int) -> float:
    """Return the 95 % quantile of the largest mean |ρ| with the slant shuffled within labels."""
    generator = torch.Generator().manual_seed(seed)
    active, known = active_latents(codes.mean), torch.from_numpy(np.isfinite(slant))
    if not active.any():
        return 0.0
    total = torch.zeros(_SHUFFLES, int(active.sum()), dtype=torch.float64)
    labels = sorted(set(codes.labels[known].tolist()))
    for label in labels:
        ranks = unit_ranks(codes.mean[known & (codes.labels == label)][:, active])
        order = unit_ranks(torch.arange(len(ranks))[:, None])[:, 0]
        shuffled = torch.stack(
            [order[torch.randperm(len(ranks), generator=generator)] for _ in range(_SHUFFLES)]
        )
        total += (shuffled @ ranks).abs()
    return float((total / len(labels)).amax(1).quantile(0.95))


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
