"""Luma and chroma of RGB images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Rec. 601 luma, and the chroma plane of YIQ, in which hue is an angle.
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def to_yiq(images: Tensor) -> Tensor:
    """Return luma and the two chroma axes (n, 3, H, W) of RGB images (n, 3, H, W) in [0, 1].

    Examples
    --------
    >>> import torch
    >>> to_yiq(torch.ones(1, 3, 1, 1)).flatten().round(decimals=3).abs().tolist()
    [1.0, 0.0, 0.0]
    """
    import torch

    return torch.einsum("ij,njhw->nihw", images.new_tensor(RGB_TO_YIQ), images)
