"""Faults of whole reconstructions: lattice, color shift, blur, lost detail.

All functions take images and their reconstructions, two sequences of (3, H, W) in [−1, 1] of the
same sizes, and return a :class:`Finding`. Differences are in levels, of which black to white
has 255. Every threshold was chosen on photos with `linear`, `linear32`, `mini` and TAEF2, and
its rate of false alarms was measured on other photos: see docs/calibration.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from latentlab.examinations.findings import Box, Finding, Place, below, beyond, unexamined
from latentlab.images.colors import to_lab

if TYPE_CHECKING:
    from torch import Tensor

Images = Sequence["Tensor"]

LEVELS = 127.5
"""Levels of 255 in one unit of [−1, 1]."""

_FEWEST_CELLS = 4
_FAINT = 0.01
"""Levels² that rounding to 8 bit leaves: flat images must not weigh infinitely."""
_BAND = (0.125, 0.35)
"""Cycles per pixel: detail finer than 8 pixels, without what is mostly noise of the camera."""
_JND = 2.3
"""Just noticeable difference in CIE 1976 ΔE (Mahy, Van Eycken and Oosterlinck 1994)."""


def examine_lattice(images: Images, decoded: Images, stride: int) -> Finding:
    """Return whether a pattern repeats with the cells: grid, checkerboard or comb.

    The value is the RMS amplitude, in levels, of what repeats exactly with every cell in
    reconstruction minus image: the energy at multiples of 1/stride cycles per pixel, less that
    of the frequencies beside them. Images weigh by one over the energy beside, since a lattice is
    seen in flat ones. A blocky reconstruction whose blocks are independent has none.
    """
    pairs = [_lattice_energy(*pair, stride) for pair in zip(images, decoded, strict=True)]
    known = [(index, *pair) for index, pair in enumerate(pairs) if pair is not None]
    if not known:
        at_least = f"at least {_FEWEST_CELLS} × {_FEWEST_CELLS} cells of 2 pixels or more"
        return unexamined("lattice", f"images of {at_least} are needed")
    weights = [1 / (beside + _FAINT) for _, _, beside in known]
    excess = [max(at - beside, 0) * w for (_, at, beside), w in zip(known, weights, strict=True)]
    energy = sum((at - beside) * w for (_, at, beside), w in zip(known, weights, strict=True))
    value = math.sqrt(max(energy / sum(weights), 0))
    shown = known[max(range(len(known)), key=excess.__getitem__)][0]
    return beyond(
        "lattice",
        value,
        1 + 1.5 / math.sqrt(len(known)),
        "levels of 255",
        says=f"a pattern that repeats every {stride} pixels, RMS {value:.2g} levels",
        reason="1 level cannot be seen; 1.5/√n more is what content alone leaves on healthy models",
        advice="decode in float32 and without tiles; if it stays, the upsampling of the decoder "
        "makes it: resize and convolve instead of a transposed convolution, or train longer",
        place=Place(shown, _calmest(images[shown])),
    )


def _lattice_energy(image: Tensor, other: Tensor, stride: int) -> tuple[float, float] | None:
    """Return the energy in levels² at the cells' frequencies, and that of those beside them."""
    import torch

    height, width = image.shape[-2:]
    down, across = height // stride, width // stride
    if stride < 2 or min(down, across) < _FEWEST_CELLS:
        return None
    power = torch.fft.fft2(LEVELS * (other - image).double(), norm="forward").abs().square().mean(0)
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    around = torch.stack([torch.roll(power, shift, (0, 1)) for shift in shifts]).mean(0)
    at, beside = power[::down, ::across], around[::down, ::across]
    return float(at.sum() - at[0, 0]), float(beside.sum() - beside[0, 0])


def examine_color(images: Images, decoded: Images) -> Finding:
    """Return whether colors are shifted alike in all images.

    The value is the length, in ΔE (CIE 1976), of the mean over images of the change of each
    image's mean Lab color.
    """
    import torch

    pairs = zip(images, decoded, strict=True)
    changes = torch.stack([_mean_lab(other) - _mean_lab(image) for image, other in pairs])
    mean, count = changes.mean(0), len(changes)
    error = float((changes.var(0).sum() / count).sqrt()) if count > 1 else _JND / 2
    shown = int((changes @ mean).argmax())
    light, red, yellow = mean.tolist()
    return beyond(
        "color shift",
        float(mean.norm()),
        _JND + 2 * error,
        "ΔE",
        says=f"all images together change by L {light:+.1f}, a {red:+.1f}, b {yellow:+.1f}",
        reason="2.3 is just noticeable (Mahy 1994); two standard errors over images more",
        advice="check that images go in and come out in RGB and [−1, 1], and the shift of the "
        "normalization; if it stays, correct the mean color after decoding or tune the decoder",
        place=Place(shown, _whole(images[shown])),
    )


def _mean_lab(image: Tensor) -> Tensor:
    import torch

    lab = to_lab((image[None].clamp(-1, 1) + 1) / 2)
    return lab.mean((0, 2, 3), dtype=torch.float64)


def examine_sharpness(images: Images, decoded: Images) -> tuple[Finding, Finding]:
    """Return the findings on blur and on lost detail, at 1/8 to 0.35 cycles per pixel.

    With the reconstructions R and the images X in this band, the value of *blur* is
    ⟨R, R⟩ / ⟨R, X⟩. The best reconstruction in the mean-square sense has 1, however much detail
    the latent lost, and so has an orthonormal projection; invented sharpness has more. A low-pass
    filter of gain g behind the decoder multiplies it by g. *Lost detail* is ⟨R, R⟩ / ⟨X, X⟩.
    """
    products = [_products(*pair) for pair in zip(images, decoded, strict=True)]
    whole, kept, shared = (sum(product[k] for product in products) for k in range(3))
    shown = max(range(len(images)), key=lambda k: products[k][0] - products[k][1])
    place = Place(shown, _busiest(images[shown]))
    gain = kept / shared if shared > 0 else math.nan
    share = kept / whole if whole > 0 else math.nan
    return (
        below(
            "blur",
            gain,
            0.88,
            "gain of fine detail",
            says=f"fine detail comes back with {gain:.0%} of the strength that suits it",
            reason="1 is right; photos on healthy models had 0.91 or more, one by one",
            advice="the decoder smooths: look for a low-pass filter, a resize or wide blends of "
            "tiles behind it, and compare with float32",
            place=place,
        ),
        below(
            "lost detail",
            share,
            0.4,
            "share of energy",
            says=f"{share:.0%} of the energy of fine detail comes back",
            reason="a linear transform to 16 channels of 8×8 pixels keeps 0.49 to 0.79 of photos",
            advice="the latent is too small, or the decoder was trained on squared error alone: "
            "train it with a perceptual loss, or choose a model with more channels",
            place=place,
        ),
    )


def _products(image: Tensor, other: Tensor) -> tuple[float, float, float]:
    """Return ⟨X, X⟩, ⟨R, R⟩ and ⟨R, X⟩ in the band of fine detail, of the interior (Hann)."""
    import torch

    height, width = image.shape[-2:]
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)
    radius = (down**2 + across**2).sqrt()
    inside = (radius >= _BAND[0]) & (radius < _BAND[1])
    first, second = (
        torch.fft.fft2(window.double() * (one - one.mean((1, 2), keepdim=True)).double())[:, inside]
        for one in (image, other)
    )
    return (
        float(first.abs().square().sum()),
        float(second.abs().square().sum()),
        float((second * first.conj()).real.sum()),
    )


def _whole(image: Tensor) -> Box:
    height, width = image.shape[-2:]
    return 0, 0, width, height


def _busiest(image: Tensor) -> Box:
    """Return the part of an image in which neighboring pixels differ most."""
    parts = _roughness(image)
    return max(parts, key=parts.__getitem__)


def _calmest(image: Tensor) -> Box:
    """Return the part of an image in which neighboring pixels differ least."""
    parts = _roughness(image)
    return min(parts, key=parts.__getitem__)


def _roughness(image: Tensor) -> dict[Box, float]:
    """Return box → mean difference of neighboring pixels, of each of 3 × 3 parts."""
    height, width = image.shape[-2:]
    tall, wide = height // 3, width // 3
    rough = image.diff(dim=-1).abs().mean(0)
    return {
        (x, y, wide, tall): float(rough[y : y + tall, x : x + wide].mean())
        for y in range(0, 3 * tall, tall)
        for x in range(0, 3 * wide, wide)
    }
