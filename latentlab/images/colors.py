"""Luma, chroma and CIE Lab of RGB images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Rec. 601 luma, and the chroma plane of YIQ, in which hue is an angle.
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
# IEC 61966-2-1, and the white point of D65 for the 2° observer.
RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)


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


def to_lab(images: Tensor) -> Tensor:
    """Return CIE L*, a*, b* (n, 3, H, W) under D65 of sRGB images (n, 3, H, W) in [0, 1].

    Distances are ΔE of CIE 1976.

    Examples
    --------
    >>> import torch
    >>> to_lab(torch.ones(1, 3, 1, 1).double()).flatten().round(decimals=1).abs().tolist()
    [100.0, 0.0, 0.0]
    """
    import torch

    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    xyz = torch.einsum("ij,njhw->nihw", images.new_tensor(RGB_TO_XYZ), linear)
    scaled = xyz / images.new_tensor(WHITE).view(3, 1, 1)
    roots = torch.where(
        scaled > 0.008856, scaled.clamp_min(0) ** (1 / 3), 7.787 * scaled + 16 / 116
    )
    x, y, z = roots.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
