"""The first convolution of a 16-bit encoder computes in float32.

bfloat16 keeps eight significant bits, so an image in [−1, 1] loses up to half a step of its own
eight bits before anything is computed. In a shallow encoder no later layer loses as much: of the
error that rounding causes in an ``augment`` neighborhood with TAEF2, five sixths came from this
layer. In a deep encoder, such as AutoencoderKL's, the later layers round as much anyway. The layer
reads only three channels and costs next to nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_DTYPE = "output_dtype"


def first_convolution(module: nn.Module) -> nn.Module | None:
    """Return the layer of a module's ``encoder`` that takes the image, or None without one.

    It is the first convolution in order of declaration; no other layer bypasses it.
    """
    encoder = getattr(module, "encoder", None)
    layers = encoder.modules() if isinstance(encoder, nn.Module) else ()
    return next((layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Conv3d)), None)


def pass_on(layer: nn.Module, dtype: torch.dtype) -> None:
    """Change a layer in place so that it casts its output to a dtype."""
    if not hasattr(layer, _DTYPE):
        layer.register_forward_hook(_cast_output)
    setattr(layer, _DTYPE, dtype)


def _cast_output(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    # The dtype is stored on the layer, because copies of a layer share their hooks.
    return output.to(getattr(layer, _DTYPE))
