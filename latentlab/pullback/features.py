"""The space in which a change of the image is measured.

A feature map takes images (b, 3, H, W) in [−1, 1], not clamped, to features (b, …), each image
independently, and lets gradients through. The norm of a change of the features says how large the
change is. With the identity, it is the Euclidean norm of the change of all pixel values.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from latentlab.errors import UsageError
from latentlab.pullback.registered import FEATURES

Features = Callable[[Tensor], Tensor]

_TRUNCATE = 4.0


@dataclass(frozen=True)
class FeatureMap(ABC):
    """A map from images to features. Its fields are its options."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Return features (b, …) of images (b, 3, H, W)."""


def make_features(
    features: str | Features = "identity", options: Mapping[str, Any] | None = None
) -> Features:
    """Return the feature map with this name and these options; a callable is returned unchanged.

    Parameters
    ----------
    features : ``"identity"``, ``"blurred"``, ``"laplacian"``, or any callable or torch module
        from images (b, 3, H, W) in [−1, 1] to tensors (b, …)
    options : of the named map, such as ``{"sigma": 3}``

    Raises
    ------
    UsageError : no such name or option, or an option's value that makes no sense.

    Examples
    --------
    >>> make_features("blurred", {"sigma": 3})
    Blurred(sigma=3.0)
    """
    if not isinstance(features, str):
        return features
    named: Features = FEATURES.make(features, options)
    return named


@FEATURES.register("identity")
@dataclass(frozen=True)
class Identity(FeatureMap):
    """The pixel values themselves: every change counts equally, wherever it is and however fine."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the images (b, 3, H, W)."""
        return images

    def __repr__(self) -> str:
        return "identity"


@FEATURES.register("blurred")
@dataclass(frozen=True)
class Blurred(FeatureMap):
    """The images after a Gaussian blur, so that changes of fine grain do not count.

    Parameters
    ----------
    sigma : float, above 0, in pixels; the kernel is cut off at 4 sigma, and edge pixels are
        repeated outwards
    """

    sigma: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise UsageError(f"sigma={self.sigma}", "a sigma above 0", "set sigma to, say, 2")

    def __call__(self, images: Tensor) -> Tensor:
        """Return blurred images (b, 3, H, W)."""
        radius = max(1, int(_TRUNCATE * self.sigma + 0.5))
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (offsets / self.sigma) ** 2)
        kernel = (weights / weights.sum()).to(images)
        channels = images.shape[1]
        across = kernel.view(1, 1, 1, -1).expand(channels, -1, -1, -1)
        wide = pad(images, (radius, radius, 0, 0), mode="replicate")
        rows = conv2d(wide, across.contiguous(), groups=channels)
        tall = pad(rows, (0, 0, radius, radius), mode="replicate")
        return conv2d(tall, across.transpose(2, 3).contiguous(), groups=channels)


@FEATURES.register("laplacian")
@dataclass(frozen=True)
class LaplacianPyramid(FeatureMap):
    """A pyramid of octaves, of which finer ones count less.

    Each level is the image minus its means over 2×2 pixels. The next level is computed from those
    means times 2. The levels are orthogonal, so that together they keep the image's norm: with
    falloff 1, norms are the same as for the identity. With a smaller falloff, broad changes of
    light and color count more than fine grain. (Burt and Adelson's smooth pyramid, 1983, is
    redundant: its norms depend on how a change is aligned with the grid of each level.)

    Parameters
    ----------
    levels : int, number of octaves, at least 1; fewer if a side can no longer be halved
    falloff : float, above 0; weight of each octave relative to the next coarser one; the last
        means have weight 1
    """

    levels: int = 4
    falloff: float = 0.5

    def __post_init__(self) -> None:
        if self.levels < 1 or not 0 < self.falloff < math.inf:
            raise UsageError(
                f"levels={self.levels} and falloff={self.falloff}",
                "at least 1 level and a falloff above 0",
                "set, say, levels=4 and falloff=0.5",
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Return all levels, from fine to coarse, as rows (b, n)."""
        bands = []
        for _ in range(self.levels):
            if images.shape[-1] % 2 or images.shape[-2] % 2:
                break
            means = avg_pool2d(images, 2)
            bands.append(images - interpolate(means, scale_factor=2, mode="nearest"))
            images = 2 * means
        weighted = [self.falloff ** (len(bands) - index) * band for index, band in enumerate(bands)]
        return torch.cat([level.flatten(1) for level in (*weighted, images)], dim=1)
