"""The space in which a change of the image is measured.

A feature map takes images (b, 3, H, W) in [−1, 1], not clamped, to features (b, …), each image
for itself, and lets gradients through. Lengths among features stand for how large a change is:
with the identity, the Euclidean length of the change of all pixel values.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from latentlab.errors import UsageError
from latentlab.pullback import FEATURES

Features = Callable[[Tensor], Tensor]

_TRUNCATE = 4.0


@dataclass(frozen=True)
class FeatureMap(ABC):
    """One way to look at images. Its fields are its options."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Return features (b, …) of images (b, 3, H, W)."""


def make_features(
    features: str | Features = "identity", options: Mapping[str, Any] | None = None
) -> Features:
    """Return the feature map of a name, with its options; a callable is returned as it is.

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
    return FEATURES.make(features, options)


def features_name(features: Features) -> str:
    """Return what titles and records call a feature map."""
    if isinstance(features, FeatureMap):
        return str(features) if fields(features) else features.name
    return str(getattr(features, "__name__", type(features).__name__))


@FEATURES.register("identity")
@dataclass(frozen=True)
class Identity(FeatureMap):
    """The pixel values themselves: every change counts alike, wherever it is and how fine."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the images (b, 3, H, W)."""
        return images

    def __repr__(self) -> str:
        return "identity"


@FEATURES.register("blurred")
@dataclass(frozen=True)
class Blurred(FeatureMap):
    """The images after a Gaussian blur: what only fine grain changes does not count.

    Parameters
    ----------
    sigma : float, above 0, in pixels; the kernel ends at 4 sigma, and edges repeat outwards
    """

    sigma: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise UsageError(f"sigma={self.sigma}", "pixels above 0", "set sigma to, say, 2")

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
    """Octaves of the image side by side, each finer one counting less.

    Each level is the image less its means over 2×2 pixels, and the next is made of those means,
    times 2. The parts of one level are orthogonal, so that all levels together have the image's
    own energy, ‖levels‖ = ‖image‖: with falloff 1 lengths are those of the identity. With less,
    a change of broad light and color counts more than one of fine grain. (Burt and Adelson's
    smooth pyramid, 1983, is redundant: its lengths depend on how a change lies to the grid of
    every level, and have no such yardstick.)

    Parameters
    ----------
    levels : int, how many octaves, at least 1; fewer where a side can no longer be halved
    falloff : float, above 0; each octave counts so many times the next coarser, the means once
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
