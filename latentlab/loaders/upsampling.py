"""Doubling a picture and convolving it, as four convolutions of the smaller picture.

After a doubling every two rows are alike, so that of a 3×3 convolution an output row sees two rows
of the smaller picture only: with weights w₀ and w₁ + w₂, or w₀ + w₁ and w₂; columns likewise. Four
2×2 convolutions, one for each place in a pixel's 2×2 block, need 16 products where the 3×3 one
needs 36. In 16 bits the sums of weights are rounded once more (a layer's error rises from .17 % to
.20 %), so float32 goes the usual way. On two cores FLUX.1's last two doublings at 512 px are 1.2 to
1.8 times as fast like this, and all of its decoding 1.06 times; small pictures gain nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn.functional import conv2d

from latentlab.loaders.residual_blocks import is_inference

SMALLEST = 128 * 128
"""Pixels of a picture, before it is doubled, from which on this pays."""


class PhasedUpsample(Upsample2D):  # type: ignore[misc]
    """A doubling with a 3×3 convolution; made by :func:`double_in_phases`."""

    def forward(self, hidden_states: Tensor, *others: Any, **more: Any) -> Tensor:
        """Return the picture (B, C', 2h, 2w)."""
        to_a_size = others or any(given is not None for given in more.values())
        if to_a_size or not (_pays(hidden_states) and is_inference()):
            result: Tensor = super().forward(hidden_states, *others, **more)
            return result
        return convolve_doubled(hidden_states, self.conv.weight, self.conv.bias)


def _pays(pictures: Tensor) -> bool:
    large = pictures.shape[-2] * pictures.shape[-1] >= SMALLEST
    # Measured on CPUs; a GPU begins many small kernels for it.
    return large and pictures.dtype.itemsize == 2 and pictures.device.type == "cpu"


def double_in_phases(module: nn.Module) -> None:
    """Let the doublings of a module that a 3×3 convolution follows do both at once, in place."""
    for layer in module.modules():
        if type(layer) is Upsample2D and _is_plain(layer):
            layer.__class__ = PhasedUpsample


def _is_plain(layer: Any) -> bool:
    conv = getattr(layer, "conv", None)
    return (
        type(conv) is nn.Conv2d
        and (conv.kernel_size, conv.padding, conv.stride) == ((3, 3), (1, 1), (1, 1))
        and conv.groups == 1
        and conv.bias is not None
        and layer.interpolate
        and layer.norm is None
    )


def convolve_doubled(pictures: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the 3×3 convolution of pictures whose every pixel is repeated 2×2.

    Parameters
    ----------
    pictures : Tensor, (B, C, h, w)
    weight, bias : Tensor, (C', C, 3, 3) and (C',)

    Examples
    --------
    >>> pictures, weight = torch.rand(1, 2, 3, 4), torch.rand(5, 2, 3, 3)
    >>> doubled = pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)
    >>> expected = conv2d(doubled, weight, padding=1)
    >>> torch.allclose(convolve_doubled(pictures, weight, torch.zeros(5)), expected, atol=1e-6)
    True
    """
    batch, _, height, width = pictures.shape
    channels = len(weight)
    # One convolution gives all four phases, each with a row and a column to spare.
    phases = conv2d(pictures, _phase_weights(weight), bias.repeat(4), padding=1)
    doubled = torch.empty(
        (batch, channels, 2 * height, 2 * width),
        dtype=pictures.dtype,
        device=pictures.device,
        memory_format=torch.channels_last,
    )
    for number, phase in enumerate(torch.split(phases, channels, 1)):
        down, across = divmod(number, 2)
        inside = phase[:, :, down : down + height, across : across + width]
        doubled[:, :, down::2, across::2] = inside
    return doubled


def _phase_weights(weight: Tensor) -> Tensor:
    """Return the weights (4·C', C, 2, 2) of the phases at (0, 0), (0, 1), (1, 0) and (1, 1)."""
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    four = [part for rows in _fold(exact, 2) for part in _fold(rows, 3)]
    return torch.cat(four).to(weight.dtype, memory_format=torch.channels_last)


def _fold(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return what an even and an odd place of a doubled axis see of its three weights: two."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([first, middle + last], dim), torch.stack([first + middle, last], dim)
