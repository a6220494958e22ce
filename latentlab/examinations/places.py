"""Faults that sit at one place of every reconstruction: corners, borders, spots.

They share one map: the mean over images of reconstruction minus image, cell by cell. What images
lose by their content has no common sign and cancels there; an artifact stays. Images of several
sizes have several maps, so the largest group of one size is examined.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latentlab.examinations.findings import Finding, Place, beyond, unexamined
from latentlab.examinations.reconstruction import LEVELS, Images

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("corners", "borders", "spots")
Cells = tuple[int, int, int, int]
"""y, x, height and width in cells."""

_FEWEST_CELLS = 4
_HEALTHY = "more than content alone leaves on healthy models, less the more images"


def examine_places(images: Images, decoded: Images, stride: int) -> tuple[Finding, ...]:
    """Return the findings on corners, borders and spots.

    Values are color differences in levels, RMS over the three channels, from the median cell: of
    the worst edge without its corners, of the worst corner from both its edges, and of the worst
    cell elsewhere. So a shift of all colors is none of them, and an edge is no corner.

    Parameters
    ----------
    images, decoded : sequences of (3, H, W) in [−1, 1]
    stride : int, pixels of a cell; cells of fewer than 8 pixels are joined to 8 or more
    """
    side = stride * math.ceil(8 / stride)
    shape, count = Counter(tuple(image.shape[-2:]) for image in images).most_common(1)[0]
    chosen = [index for index, image in enumerate(images) if tuple(image.shape[-2:]) == shape]
    if min(shape) < _FEWEST_CELLS * side:
        needed = f"images of at least {_FEWEST_CELLS * side} pixels are needed"
        return tuple(unexamined(name, needed) for name in NAMES)
    maps = _cells([decoded[k] - images[k] for k in chosen], side)
    mean = maps.mean(0)
    mean = mean - mean.flatten(1).median(1).values[:, None, None]
    scene = _Scene(maps, mean, side, tuple(chosen))
    root = math.sqrt(count)
    return (
        _corners(mean, scene, 2 + 12 / root),
        _borders(mean, scene, 1.5 + 7 / root),
        _spots(mean, scene, 2 + 14 / root),
    )


class _Scene:
    """Maps of differences (n, 3, h, w), their mean, and how their cells lie in the images."""

    def __init__(self, maps: Tensor, mean: Tensor, side: int, numbers: Sequence[int]) -> None:
        self.maps, self.mean, self.side, self.numbers = maps, mean, side, numbers

    def place(self, y: int, x: int, down: int = 1, across: int = 1) -> Place:
        """Return the place of some cells, in the image that deviates there most."""
        shared = self.mean[:, y : y + down, x : x + across]
        here = self.maps[:, :, y : y + down, x : x + across]
        shown = int((here * shared).sum((1, 2, 3)).argmax())
        box = (x * self.side, y * self.side, across * self.side, down * self.side)
        return Place(self.numbers[shown], box)


def _cells(differences: Sequence[Tensor], side: int) -> Tensor:
    """Return mean differences (n, 3, h, w) of cells, in levels."""
    import torch
    from torch.nn.functional import avg_pool2d

    return avg_pool2d(LEVELS * torch.stack([*differences]).double(), side)


def _corners(mean: Tensor, scene: _Scene, threshold: float) -> Finding:
    edges = _edges(mean)
    sizes = {
        (y, x): min(
            _rms(mean[:, y, x] - edges[name][0].mean(1))
            for name in ("bottom" if y else "top", "right" if x else "left")
        )
        for y in (0, -1)
        for x in (0, -1)
    }
    y, x = max(sizes, key=sizes.__getitem__)
    return _state(
        "corners",
        sizes[y, x],
        threshold,
        f"at the {'bottom' if y else 'top'} {'right' if x else 'left'} corner",
        advice="pad with reflection instead of zeros, or encode a wider image and crop it",
        place=scene.place(y % mean.shape[1], x % mean.shape[2]),
    )


def _borders(mean: Tensor, scene: _Scene, threshold: float) -> Finding:
    edges = _edges(mean)
    sizes = {name: _rms(cells.mean(1)) for name, (cells, _) in edges.items()}
    worst = max(sizes, key=sizes.__getitem__)
    return _state(
        "borders",
        sizes[worst],
        threshold,
        f"along the {worst} edge",
        advice="pad with reflection instead of zeros, or encode a wider image and crop its edge",
        place=scene.place(*edges[worst][1]),
    )


def _spots(mean: Tensor, scene: _Scene, threshold: float) -> Finding:
    inner = mean[:, 1:-1, 1:-1].norm(dim=0)
    y, x = divmod(int(inner.argmax()), inner.shape[1])
    return _state(
        "spots",
        float(inner.max()) / math.sqrt(3),
        threshold,
        f"at x {(x + 1) * scene.side}, y {(y + 1) * scene.side}",
        advice="the decoder paints a spot at a fixed place: look for a broken tile, a positional "
        "embedding of another size, or norms that carry a mean through one place",
        place=scene.place(y + 1, x + 1),
    )


def _edges(mean: Tensor) -> dict[str, tuple[Tensor, Cells]]:
    """Return name → cells (3, n) of an edge without its corners, and where they are."""
    height, width = mean.shape[1:]
    return {
        "top": (mean[:, 0, 1:-1], (0, 1, 1, width - 2)),
        "bottom": (mean[:, -1, 1:-1], (height - 1, 1, 1, width - 2)),
        "left": (mean[:, 1:-1, 0], (1, 0, height - 2, 1)),
        "right": (mean[:, 1:-1, -1], (1, width - 1, height - 2, 1)),
    }


def _rms(color: Tensor) -> float:
    return float(color.norm()) / math.sqrt(3)


def _state(name: str, value: float, threshold: float, where: str, **words: Any) -> Finding:
    says = f"all images are off by {value:.3g} levels {where}"
    reason = f"{threshold:.2g} levels is {_HEALTHY}"
    return beyond(name, value, threshold, "levels of 255", says=says, reason=reason, **words)
