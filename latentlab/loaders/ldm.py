"""Single files of AutoencoderKL and AutoencoderKLFlux2: architecture and names from the tensors.

CompVis' names (``encoder.down.0.block.0``, as in ``ae.safetensors``) become diffusers'
(``encoder.down_blocks.0.resnets.0``), and the configuration is inferred from the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

NORM_GROUPS = 32
"""Group norm's number of groups, 32 in all published models; shapes do not determine it."""

_RENAMES = (
    (r"^(encoder\.)?quant_conv\.", "quant_conv."),
    (r"^(decoder\.)?post_quant_conv\.", "post_quant_conv."),
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
    (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
    (r"^encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets."),
    (r"^encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0."),
    (r"^decoder\.up\.(\d+)\.block\.", r"decoder.up_blocks.\1.resnets."),
    (r"^decoder\.up\.(\d+)\.upsample\.", r"decoder.up_blocks.\1.upsamplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
)


def rename(key: str, renames: Iterable[tuple[str, str]]) -> str:
    """Return a name after regular expressions were replaced one after the other."""
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key


def rename_ldm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return CompVis' tensors under diffusers' names.

    The attention's 1×1 convolutions become linear layers. CompVis counts the decoder's blocks from
    the image, diffusers from the latent.
    """
    levels = _count(tensors, r"decoder\.up\.(\d+)\.")
    renamed = {}
    for key, tensor in tensors.items():
        name = re.sub(
            r"^decoder\.up_blocks\.(\d+)\.",
            lambda match: f"decoder.up_blocks.{levels - 1 - int(match[1])}.",
            rename(key, _RENAMES),
        )
        linear = ".attentions." in name and tensor.ndim == 4
        renamed[name] = tensor[:, :, 0, 0] if linear else tensor
    return renamed


def read_kl_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the options of AutoencoderKL or AutoencoderKLFlux2 that tensors' shapes determine.

    Scale and shift to model space are not among them: see
    :func:`latentlab.loaders.checkpoints.read_file`.

    Raises
    ------
    KeyError : one of the tensors that determine the options is missing.
    """
    widths = _widths(tensors, "encoder.down_blocks")
    config: dict[str, Any] = {
        "in_channels": tensors["encoder.conv_in.weight"].shape[1],
        "out_channels": tensors["decoder.conv_out.weight"].shape[0],
        "latent_channels": tensors["decoder.conv_in.weight"].shape[1],
        "block_out_channels": widths,
        "layers_per_block": _count(tensors, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "norm_num_groups": NORM_GROUPS,
        "use_quant_conv": "quant_conv.weight" in tensors,
        "use_post_quant_conv": "post_quant_conv.weight" in tensors,
        "mid_block_add_attention": any(".mid_block.attentions." in key for key in tensors),
    }
    if "bn.running_mean" in tensors:
        config["decoder_block_out_channels"] = _widths(tensors, "decoder.up_blocks")[::-1]
    return config


def _widths(tensors: Mapping[str, Tensor], blocks: str) -> tuple[int, ...]:
    levels = _count(tensors, rf"{re.escape(blocks)}\.(\d+)\.")
    return tuple(
        tensors[f"{blocks}.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)
    )


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many different values the pattern's first group takes."""
    return len({match[1] for key in tensors if (match := re.match(pattern, key))})
