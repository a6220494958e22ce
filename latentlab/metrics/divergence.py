"""Divergence of diagonal Gaussian posteriors from the standard normal prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def divergence_by_channel(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, 1)) in nats (n, C), float64, summed over the cells of a channel.

    ½ (μ² + σ² − 1 − ln σ²) for each number of latents (n, C, …) of any dimension.

    Examples
    --------
    >>> import torch
    >>> divergence_by_channel(torch.ones(1, 2, 3, 1), torch.zeros(1, 2, 3, 1)).tolist()
    [[1.5, 1.5]]
    """
    mean, logvar = mean.double(), logvar.double()
    nats = (mean.square() + logvar.exp() - 1 - logvar) / 2
    return nats.flatten(2).sum(2)
