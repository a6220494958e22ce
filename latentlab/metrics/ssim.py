"""Structural similarity (Wang et al. 2004) and its multi-scale form (Wang et al. 2003)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from latentlab.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales (Wang et al. 2003)."""


def ssim(
    image: Tensor,
    other: Tensor,
    *,
    window: str = "gaussian",
    side: int = 11,
    sigma: float = 1.5,
    data_range: float = 1.0,
) -> Tensor:
    """Return the structural similarity (n,), float64, −1 to 1, of images (n, c, H, W).

    Channels are averaged, and so are all positions at which the window lies inside the image.

    Parameters
    ----------
    image, other : Tensor, (n, c, H, W)
    window : ``"gaussian"`` with population covariance, or ``"uniform"`` with that of a sample
    side : int, odd, pixels of the window's side
    sigma : float, standard deviation of the Gaussian in pixels
    data_range : float, largest minus smallest possible value

    Raises
    ------
    ShapeError : an image smaller than the window.

    Examples
    --------
    >>> import torch
    >>> images = torch.rand(2, 3, 16, 16)
    >>> ssim(images, images).tolist()
    [1.0, 1.0]
    """
    luminance, contrast = _terms(image, other, window, side, sigma, data_range)
    return (luminance * contrast).mean((1, 2, 3))


def ms_ssim(
    image: Tensor,
    other: Tensor,
    *,
    side: int = 11,
    sigma: float = 1.5,
    data_range: float = 1.0,
) -> Tensor:
    """Return the multi-scale structural similarity (n,), float64, of images (n, c, H, W).

    Five scales, each half the one before by 2×2 means; contrast counts at all of them, luminance at
    the last. Negative contrast counts as 0, as in pytorch-msssim.

    Raises
    ------
    ShapeError : the shorter side is not above 16 (side − 1) pixels, 160 for the usual window.

    Examples
    --------
    >>> import torch
    >>> images = torch.rand(1, 3, 176, 176)
    >>> ms_ssim(images, images).tolist()
    [1.0]
    """
    import torch

    smallest = 2 ** (len(SCALE_WEIGHTS) - 1) * (side - 1)
    if min(image.shape[-2:]) <= smallest:
        height, width = image.shape[-2:]
        raise ShapeError(
            f"images of {width}×{height} pixels for MS-SSIM",
            f"sides above {smallest} pixels, for five scales",
            "choose a larger size, or leave ms_ssim out",
        )
    first, second = image.double(), other.double()
    found = first.new_ones(first.shape[:2])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            first, second = _halve(first), _halve(second)
        luminance, contrast = _terms(first, second, "gaussian", side, sigma, data_range)
        last = scale == len(SCALE_WEIGHTS) - 1
        part = (luminance * contrast if last else contrast).mean((2, 3))
        found = found * torch.relu(part) ** weight
    return found.mean(1)


def _halve(images: Tensor) -> Tensor:
    from torch.nn.functional import avg_pool2d

    height, width = images.shape[-2:]
    # As pytorch-msssim: an odd side is padded with zeros, which count in the means.
    return avg_pool2d(images, 2, padding=(height % 2, width % 2))


def _terms(
    image: Tensor, other: Tensor, window: str, side: int, sigma: float, data_range: float
) -> tuple[Tensor, Tensor]:
    """Return luminance and contrast-structure terms (n, c, h, w) where the window lies inside."""
    import torch

    height, width = image.shape[-2:]
    if min(height, width) < side:
        raise ShapeError(
            f"images of {width}×{height} pixels for SSIM",
            f"at least the window's {side} pixels",
            "choose a larger size or a smaller window",
        )
    x, y = image.double(), other.double()
    down, across = _band(height, window, side, sigma), _band(width, window, side, sigma)
    maps = torch.stack([x, y, x * x, y * y, x * y])
    mx, my, xx, yy, xy = down.to(maps) @ (maps @ across.T.to(maps))
    unbiased = side**2 / (side**2 - 1) if window == "uniform" else 1.0
    vx, vy, vxy = ((a - b) * unbiased for a, b in ((xx, mx * mx), (yy, my * my), (xy, mx * my)))
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    return (2 * mx * my + c1) / (mx * mx + my * my + c1), (2 * vxy + c2) / (vx + vy + c2)


@cache
def _band(length: int, window: str, side: int, sigma: float) -> Tensor:
    """Return the matrix (length − side + 1, length), float64, that filters an axis."""
    import torch

    offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2) if window == "gaussian" else offsets * 0 + 1
    taps = taps / taps.sum()
    band = torch.zeros(length - side + 1, length, dtype=torch.float64)
    for start in range(length - side + 1):
        band[start, start : start + side] = taps
    return band
