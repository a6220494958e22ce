"""Residual blocks that overwrite tensors no longer needed, where nothing is differentiated.

At the high-resolution end of a decoder, everything between two convolutions is limited by memory
bandwidth. diffusers' block allocates a new tensor for every activation and every sum, and divides
the sum by a factor that is one in all VAEs. In inference mode, the blocks here do both in place and
skip the division. The numbers are the same. FLUX.1 decodes 512 px in bfloat16 on two cores 1.08 to
1.09 times as fast.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn.functional import silu


class FrugalBlock(ResnetBlock2D):  # type: ignore[misc]
    """A plain residual block that :func:`reuse_memory` has changed to save memory.

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
    """Turn the plain residual blocks of a module into :class:`FrugalBlock`, in place."""
    for block in module.modules():
        if type(block) is ResnetBlock2D and _is_plain(block):
            block.__class__ = FrugalBlock


def is_inference() -> bool:
    """Return whether nothing is being differentiated or compiled."""
    # A compiler reuses memory by itself, and a query of the mode would break its graph.
    return not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()


def _is_plain(block: Any) -> bool:
    extras = (block.upsample, block.downsample, block.time_emb_proj)
    return (
        all(extra is None for extra in extras)
        and isinstance(block.nonlinearity, nn.SiLU)
        and block.time_embedding_norm in ("default", "group")
        and block.output_scale_factor == 1
    )
