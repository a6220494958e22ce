"""Images of models that see gray, transparency or other channels, from RGB and back.

Everything else in latentlab has three channels. A model of gray images gets Rec. 601 luma, as
Pillow's mode L, and a model of RGBA gets an opaque image, unless the image has an opacity of its
own. Decoded transparency is blended on white, as transparent image files are when they are read.
"""

from __future__ import annotations

import torch
from torch import Tensor

GRAY, RGBA = 1, 4
NOTES = {
    GRAY: "the model sees gray: images are turned to luma, and decoded ones are repeated to RGB",
    RGBA: "the model sees RGBA: RGB images are opaque, and decoded ones are blended on white",
}
"""Channels of the model's images → what is done to them, for ``run.json``."""

_LUMA = (0.299, 0.587, 0.114)


def from_rgb(images: Tensor, channels: int) -> Tensor:
    """Return images (B, channels, H, W) of RGB (B, 3, H, W); others are returned as they are.

    Examples
    --------
    >>> from_rgb(torch.ones(1, 3, 2, 2), 1).shape, from_rgb(torch.ones(1, 3, 2, 2), 4).shape
    (torch.Size([1, 1, 2, 2]), torch.Size([1, 4, 2, 2]))
    """
    if images.ndim != 4 or images.shape[1] != 3 or channels not in NOTES:
        return images
    if channels == RGBA:
        return torch.cat([images, torch.ones_like(images[:, :1])], 1)
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def to_rgb(images: Tensor) -> Tensor:
    """Return RGB (B, 3, H, W) of gray or RGBA images in [−1, 1]; others are returned as they are.

    Examples
    --------
    >>> transparent = torch.tensor([0.5, 0.5, 0.5, -1.0]).view(1, 4, 1, 1)
    >>> to_rgb(transparent).flatten().tolist()
    [1.0, 1.0, 1.0]
    """
    channels = images.shape[1]
    if channels == GRAY:
        return images.expand(-1, 3, -1, -1)
    if channels == RGBA:
        opacity = (images[:, 3:] / 2 + 0.5).clamp(0, 1)
        return images[:, :3] * opacity + (1 - opacity)
    return images
