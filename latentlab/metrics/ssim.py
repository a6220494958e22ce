"""Structural similarity (Wang et al. 2004) and its multi-scale form (Wang et al. 2003)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from latentlab.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales (Wang et al. 2003)."""
_BLOCK = 32
"""Places that are filtered by one product."""


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
    how: dict[str, Any] = {"window": window, "side": side, "sigma": sigma, "data_range": data_range}
    return similarity(image, other, **how)[0].mean(1)


def similarity(
    image: Tensor, other: Tensor, *, window: str, side: int, sigma: float, data_range: float
) -> tuple[Tensor, Tensor]:
    """Return the structural similarity, and its contrast alone, (n, c) each, of every channel.

    Parameters and errors as for :func:`ssim`.

    Examples
    --------
    >>> import torch
    >>> image = torch.rand(1, 1, 16, 16)
    >>> whole, contrast = similarity(
    ...     image, image + 0.1, window="uniform", side=7, sigma=0, data_range=1
    ... )
    >>> float(whole) < 0.99, round(float(contrast), 6)
    (True, 1.0)
    """
    luminance, contrast = _terms(image, other, window, side, sigma, data_range)
    return (luminance * contrast).mean((2, 3)), contrast.mean((2, 3))


def ms_ssim(
    image: Tensor,
    other: Tensor,
    *,
    side: int = 11,
    sigma: float = 1.5,
    data_range: float = 1.0,
    first: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return the multi-scale structural similarity (n,), float64, of images (n, c, H, W).

    Five scales, each half the one before by 2×2 means; contrast counts at all of them, luminance at
    the last. Negative contrast counts as 0, as in pytorch-msssim.

    Parameters
    ----------
    image, other, side, sigma, data_range : as for :func:`ssim`, with its Gaussian window
    first : what :func:`similarity` returned for these images, if it is known already

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
    how: dict[str, Any] = {
        "window": "gaussian",
        "side": side,
        "sigma": sigma,
        "data_range": data_range,
    }
    both = torch.stack([image, other]).double()
    found = both.new_ones(image.shape[:2])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            both = torch.stack([*map(_halve, both)])
        known = first if scale == 0 else None
        whole, contrast = known or similarity(*both, **how)
        part = whole if scale == len(SCALE_WEIGHTS) - 1 else contrast
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
    maps = torch.stack([x, y, x * x + y * y, (x - y).square()])
    mx, my, both, apart = _filter(_filter(maps, window, side, sigma, 3), window, side, sigma, 4)
    # 2 cov(x, y) = var(x) + var(y) − var(x − y): four maps instead of five, and what is small is
    # no difference of large numbers.
    unbiased = side**2 / (side**2 - 1) if window == "uniform" else 1.0
    squares, gaps = mx * mx + my * my, (mx - my).square()
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    spread = (both - squares) * unbiased + c2
    # Nothing is changed in place, since images may have gradients.
    return 1 - gaps / (squares + c1), 1 - (apart - gaps) * unbiased / spread


def _filter(maps: Tensor, window: str, side: int, sigma: float, axis: int) -> Tensor:
    """Return maps (k, n, c, H, W) filtered along an axis, where the window lies inside.

    Products of blocks with a band: most of a whole axis' matrix would be zeros.
    """
    length = maps.shape[axis] - side + 1
    found = maps.new_empty([length if k == axis else n for k, n in enumerate(maps.shape)])
    for begun in range(0, length, _BLOCK):
        count = min(_BLOCK, length - begun)
        band = _band(count, window, side, sigma).to(maps.device)
        part = maps.narrow(axis, begun, count + side - 1)
        product = part @ band.T if axis == maps.ndim - 1 else band @ part
        found.narrow(axis, begun, count).copy_(product)
    return found


@cache
def _band(count: int, window: str, side: int, sigma: float) -> Tensor:
    """Return the matrix (count, count + side − 1), float64, that filters so many places."""
    import torch

    # It is kept, and no tensor of inference mode can be part of a gradient later.
    with torch.inference_mode(False):
        offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
        taps = torch.exp(-0.5 * (offsets / sigma) ** 2) if window == "gaussian" else offsets * 0 + 1
        taps = taps / taps.sum()
        band = torch.zeros(count, count + side - 1, dtype=torch.float64)
        for start in range(count):
            band[start, start : start + side] = taps
        return band
