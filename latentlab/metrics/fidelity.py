"""How close a reconstruction is to its image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def psnr(image: Tensor, other: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of two images in [−1, 1].

    Both are clamped to [−1, 1] first, as they are when saved; the peak is the range 2. Infinite
    for equal images.

    Examples
    --------
    >>> import torch
    >>> round(psnr(torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.2)), 6)
    20.0
    """
    error = float((image.clamp(-1, 1) - other.clamp(-1, 1)).double().square().mean())
    return 10 * math.log10(4 / error) if error else math.inf


def squared_errors(images: Tensor, others: Tensor) -> Tensor:
    """Return the mean squared error (n,), float64, of each image (n, c, H, W).

    Examples
    --------
    >>> import torch
    >>> squared_errors(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)).tolist()
    [0.25, 0.25]
    """
    return (images.double() - others.double()).square().flatten(1).mean(1)
