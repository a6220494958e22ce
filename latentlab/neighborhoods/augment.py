"""The image itself, slightly changed in known ways and encoded again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import torch
import torch.nn.functional as nnf
from torch import Generator, Tensor

from latentlab.encoding.batches import batch_size
from latentlab.encoding.encoder import encode_each
from latentlab.errors import UsageError
from latentlab.images.colors import RGB_TO_YIQ, to_yiq
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.image_channels import to_rgb
from latentlab.neighborhoods import SAMPLERS
from latentlab.neighborhoods.amounts import Amount
from latentlab.neighborhoods.base import Draws, Sampler, encoded_image, is_encoded_with_alpha

_CHANGED_AT_ONCE = 8
"""Copies that are made together: threads share them out, which one copy would not occupy."""


@SAMPLERS.register("augment")
@dataclass(frozen=True)
class Augment(Sampler):
    """Shifted, turned, zoomed, recolored and blurred copies of the image, re-encoded.

    Each range is the largest change; 0 leaves that factor out. Values are drawn uniformly (gains
    uniformly in their logarithm) and kept as the samples' ground truth.

    Parameters
    ----------
    shift : float, fraction of the image's side, both ways, in x and in y
    rotation : float, degrees, both ways
    zoom : float, largest zoom is ``1 + zoom``, smallest its inverse
    brightness, contrast, saturation : float, largest gain is ``1 + value``, smallest its inverse
    hue : float, degrees in the YIQ chroma plane, both ways
    blur : float, largest standard deviation in pixels
    """

    is_rendered = True

    shift: float = 0.015
    rotation: float = 3.0
    zoom: float = 0.06
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.3
    hue: float = 10.0
    blur: float = 1.0

    uncounted = "copies of one image contain no noise"
    nulls = ("parallel", "stationary")
    amounts: ClassVar = {
        "shift_x": Amount("% of the width", 0.1, 100, words="horizontal shift"),
        "shift_y": Amount("% of the height", 0.1, 100, words="vertical shift"),
        "rotation": Amount("°", 0.2),
        "zoom": Amount("% of its own", 0.5, 100, gain=True),
        "brightness": Amount("% of its own", 2, 100, gain=True),
        "contrast": Amount("% of its own", 2, 100, gain=True),
        "saturation": Amount("% of its own", 2, 100, gain=True),
        "hue": Amount("°", 2),
        "blur": Amount("px", 0.1),
    }
    statement = (
        "Copies of the image with known, continuous changes, encoded again. It is the positive "
        "control: about nine factors vary, so leading components should be coherent. The orbit of "
        "these changes is curved, so more components than factors carry variance, and nothing "
        "outside the chosen changes is seen."
    )

    def __post_init__(self) -> None:
        ranges = vars(self)
        for name, value in ranges.items():
            if not 0 <= value < math.inf:
                raise UsageError(
                    f"{name}={value}", "a range of 0 or more", f"set {name} to 0 or more"
                )
        if not any(ranges.values()):
            raise UsageError("all ranges 0", "at least one factor that varies", "raise one range")

    def draw(self, vae: LatentVAE, latent: Latent, samples: int, generator: Generator) -> Draws:
        pixels = self._pixels(latent)
        factors = self.draw_factors(samples, generator)
        together = batch_size(vae, pixels.shape[1], pixels.shape[2])
        some = _parts_of(factors, together)
        changed = _parts_of(factors, together * max(1, _CHANGED_AT_ONCE // together))
        batches = chain.from_iterable(
            torch.split(change_image(pixels, few), together) for few in changed
        )
        yield from zip(encode_each(vae, batches), some, strict=True)

    def draw_factors(self, samples: int, generator: Generator) -> dict[str, Tensor]:
        """Return name → values (samples,) of every factor whose range is not 0."""
        uniform = torch.rand(len(self.amounts), samples, generator=generator)
        ranges, factors = self.ranges(), {}
        for row, (name, amount) in zip(uniform, self.amounts.items(), strict=True):
            if name in ranges:
                low, high = ranges[name]
                values = low + (high - low) * row
                factors[name] = values.exp() if amount.gain else values
        return factors

    def ranges(self) -> dict[str, tuple[float, float]]:
        found = {}
        for name, amount in self.amounts.items():
            largest = getattr(self, name.partition("_")[0])
            high = math.log1p(largest) if amount.gain else largest
            if high > 0:
                found[name] = (0.0 if name == "blur" else -high, high)
        return found

    def render(self, latent: Latent, factors: Mapping[str, Tensor]) -> Tensor:
        return to_rgb(change_image(self._pixels(latent), factors))

    def _pixels(self, latent: Latent) -> Tensor:
        """Return the image as it was encoded: (3, H, W), or (4, H, W) with its opacity."""
        image = latent.image
        if image is not None and image.rgba is not None and is_encoded_with_alpha(image):
            return image.rgba
        return encoded_image(latent, self.name).pixels


def _parts_of(factors: Mapping[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Return the factors of each ``count`` samples in turn."""
    parts = zip(*(torch.split(values, count) for values in factors.values()), strict=True)
    return [dict(zip(factors, values, strict=True)) for values in parts]


def change_image(pixels: Tensor, factors: Mapping[str, Tensor]) -> Tensor:
    """Return changed copies (b, C, H, W), in [−1, 1], of one image (C, H, W).

    Parameters
    ----------
    pixels : Tensor, (3, H, W) in [−1, 1], or (4, H, W) with the opacity, which moves and blurs as
        the colors do and keeps its values otherwise
    factors : any of shift_x, shift_y (fractions of the width and height, positive to the right
        and down), rotation (degrees, positive counterclockwise), zoom, brightness, contrast,
        saturation (gains, 1 for no change), hue (degrees), blur (pixels); each (b,)

    Notes
    -----
    Uncovered corners show the mirrored image. Results are clamped to [−1, 1], like any saved image.
    """
    count = len(next(iter(factors.values())))
    images = pixels.expand(count, -1, -1, -1)
    images = blur(images, factors["blur"]) if "blur" in factors else images
    if factors.keys() & {"shift_x", "shift_y", "rotation", "zoom"}:
        images = _warp(images, factors)
    colors, opacity = images[:, :3], images[:, 3:]
    changed = _recolor((colors + 1) / 2, factors).clamp(0, 1) * 2 - 1
    return torch.cat([changed, opacity.clamp(-1, 1)], 1) if opacity.shape[1] else changed


def _warp(images: Tensor, factors: Mapping[str, Tensor]) -> Tensor:
    """Return images turned and zoomed about their center, then shifted."""
    count, _, height, width = images.shape
    zero = torch.zeros(count)
    angle = torch.deg2rad(factors.get("rotation", zero))
    scale = 1 / factors.get("zoom", zero + 1)
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    # grid_sample asks where each output pixel comes from, in units of half a side.
    aspect = height / width
    turn = torch.stack([cosine, -sine * aspect, sine / aspect, cosine], 1).view(-1, 2, 2)
    shift = 2 * torch.stack([factors.get("shift_x", zero), factors.get("shift_y", zero)], 1)
    theta = torch.cat([turn, -(turn @ shift[..., None])], 2)
    grid = nnf.affine_grid(theta, list(images.shape), align_corners=False)
    return nnf.grid_sample(
        images, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )


def _recolor(images: Tensor, factors: Mapping[str, Tensor]) -> Tensor:
    """Return images in [0, 1] with gains on light, contrast and chroma, and their hue turned."""
    count = len(images)
    one = torch.ones(count)
    light = (factors.get("brightness", one))[:, None, None]
    contrast = factors.get("contrast", one)[:, None, None]
    saturation = factors.get("saturation", one)
    angle = torch.deg2rad(factors.get("hue", 0 * one))
    luma, *chroma = to_yiq(images).unbind(1)
    mean = luma.mean((1, 2), keepdim=True)
    luma = ((luma - mean) * contrast + mean) * light
    cosine = (saturation * angle.cos())[:, None, None] * contrast * light
    sine = (saturation * angle.sin())[:, None, None] * contrast * light
    turned = (cosine * chroma[0] - sine * chroma[1], sine * chroma[0] + cosine * chroma[1])
    to_rgb = images.new_tensor(RGB_TO_YIQ).inverse()
    return torch.einsum("ij,jbhw->bihw", to_rgb, torch.stack([luma, *turned]))


def blur(images: Tensor, deviations: Tensor) -> Tensor:
    """Return images (b, 3, H, W) blurred by Gaussians of these deviations (b,) in pixels."""
    count, channels, height, width = images.shape
    radius = min(max(1, math.ceil(3 * float(deviations.max()))), height - 1, width - 1)
    if radius < 1:
        return images
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype)
    kernels = torch.exp(-0.5 * (offsets / deviations.clamp_min(1e-3)[:, None]).square())
    # Each kernel ends where it would alone, so that no copy depends on the others of its batch.
    kernels *= offsets.abs() <= (3 * deviations).ceil().clamp_min(1)[:, None]
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    planes = images.reshape(1, count * channels, height, width)
    padded = nnf.pad(planes, (radius, radius, 0, 0), mode="reflect")
    across = nnf.conv2d(padded, kernels[:, :, None, :], groups=count * channels)
    padded = nnf.pad(across, (0, 0, radius, radius), mode="reflect")
    down = nnf.conv2d(padded, kernels[:, :, :, None], groups=count * channels)
    return down.view(count, channels, height, width)
