"""The first convolution of a 16-bit encoder computes in float32.

bfloat16 keeps eight bits of a number. A picture in [−1, 1] loses up to half a step of its own
eight bits before anything is computed. In a shallow encoder no later layer loses as much: five
sixths of what TAEF2's rounding did to an ``augment`` neighborhood came from there; in a deep one,
such as AutoencoderKL's, the layers after it round as much anyway. The layer has three channels to
read and costs next to nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_DTYPE = "output_dtype"


def first_convolution(module: nn.Module) -> nn.Module | None:
    """Return the layer of a module's ``encoder`` that takes the picture, None where there is none.

    It is the first convolution to be declared, which no other layer goes around.
    """
    encoder = getattr(module, "encoder", None)
    layers = encoder.modules() if isinstance(encoder, nn.Module) else ()
    return next((layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Conv3d)), None)


def pass_on(layer: nn.Module, dtype: torch.dtype) -> None:
    """Change a layer in place: what it computes in its own dtype it passes on in this one."""
    if not hasattr(layer, _DTYPE):
        layer.register_forward_hook(_cast_output)
    setattr(layer, _DTYPE, dtype)


def _cast_output(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    # The dtype is the layer's, and so a copy's own; a function that knew it would be shared.
    return output.to(getattr(layer, _DTYPE))
