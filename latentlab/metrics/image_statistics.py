"""What can be read off an image without a model: light, color, sharpness, where the light is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from latentlab.images.colors import to_yiq

if TYPE_CHECKING:
    from torch import Tensor

GRAY = 0.03
"""Mean chroma under which an image has no hue. One level of 255 in one channel turns it by 5°."""


def measure_images(images: Tensor) -> dict[str, Tensor]:
    """Return name → values (n,), float64, of every image statistic.

    Parameters
    ----------
    images : Tensor, (n, 3, H, W) in [−1, 1]; values beyond are clamped, as they are when saved

    Examples
    --------
    >>> import torch
    >>> statistics = measure_images(torch.zeros(1, 3, 8, 8))
    >>> list(statistics)
    ['brightness', 'contrast', 'saturation', 'hue', 'sharpness', 'x position', 'y position']
    >>> round(float(statistics["brightness"]), 6), float(statistics["x position"])
    (0.5, 0.5)
    """
    yiq = _to_yiq(images)
    return {name: statistic(yiq) for name, statistic in _STATISTICS.items()}


def _to_yiq(images: Tensor) -> Tensor:
    return to_yiq((images.double().clamp(-1, 1) + 1) / 2)


def brightness(yiq: Tensor) -> Tensor:
    """Return the mean luma (n,), 0 black to 1 white, of images (n, 3, H, W) in YIQ."""
    return yiq[:, 0].mean((1, 2))


def contrast(yiq: Tensor) -> Tensor:
    """Return the standard deviation of the luma (n,), 0 to ½."""
    return yiq[:, 0].flatten(1).std(1, correction=0)


def saturation(yiq: Tensor) -> Tensor:
    """Return the mean distance from gray (n,) in the chroma plane of YIQ, 0 to about 0.63."""
    chroma: Tensor = yiq[:, 1:].norm(dim=1)
    return chroma.mean((1, 2))


def hue(yiq: Tensor) -> Tensor:
    """Return the angle (n,) of the mean chroma in degrees, −180 to 180; 0 for a gray image.

    Near gray it says nothing: changes are measured with :func:`turn_of_hue`.
    """
    import torch

    first, second = mean_chroma(yiq).unbind(1)
    return torch.rad2deg(torch.atan2(second, first))


def mean_chroma(yiq: Tensor) -> Tensor:
    """Return the mean chroma (n, 2) of images (n, 3, H, W) in YIQ."""
    return yiq[:, 1:].mean((2, 3))


def turn_of_hue(images: Tensor, center: Tensor) -> Tensor:
    """Return how far the hue of images (n, 3, H, W) is turned from that of one image, in degrees.

    It is the change of the mean chroma across that of the image (3, H, W), over its length: the
    angle for small turns, but finite where an image passes gray. NaN if the image is nearly gray.
    """
    import torch

    (start,) = mean_chroma(_to_yiq(center[None]))
    across = torch.stack([-start[1], start[0]])
    length = float(start.norm())
    if length < GRAY:
        return torch.full((len(images),), torch.nan, dtype=torch.float64)
    return torch.rad2deg(mean_chroma(_to_yiq(images)) @ across / length**2)


def sharpness(yiq: Tensor) -> Tensor:
    """Return the RMS difference of neighboring pixels' luma over its standard deviation (n,).

    It does not change with brightness or contrast; 0 for an image of one luma.
    """
    luma = yiq[:, 0]
    squares = luma.diff(dim=1).square().mean((1, 2)) + luma.diff(dim=2).square().mean((1, 2))
    return squares.sqrt() / contrast(yiq).clamp_min(1e-12)


def _center_of_mass(profile: Tensor) -> Tensor:
    """Return the center of mass (n,), 0 to 1 (left or top edge to the other), of a light profile.

    ½ for black images. The profile (n, cells) is the luma of columns or of rows.
    """
    import torch

    cells = profile.shape[1]
    centers = (torch.arange(cells).to(profile) + 0.5) / cells
    light = profile.clamp_min(0) + 1e-12
    return (light @ centers) / light.sum(1)


_STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
    "sharpness": sharpness,
    "x position": lambda yiq: _center_of_mass(yiq[:, 0].mean(1)),
    "y position": lambda yiq: _center_of_mass(yiq[:, 0].mean(2)),
}
