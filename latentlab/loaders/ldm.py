"""Single files of AutoencoderKL, AutoencoderKLFlux2 and VQModel: architecture and names.

CompVis' names (``encoder.down.0.block.0``, as in ``ae.safetensors``) become diffusers'
(``encoder.down_blocks.0.resnets.0``), and the configuration is inferred from the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from latentlab.errors import WeightsError

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
    (r"^encoder\.down\.(\d+)\.attn\.", r"encoder.down_blocks.\1.attentions."),
    (r"^decoder\.up\.(\d+)\.attn\.", r"decoder.up_blocks.\1.attentions."),
    (r"\.attentions\.(\d+)\.norm\.", r".attentions.\1.group_norm."),
    (r"\.attentions\.(\d+)\.([qkv])\.", r".attentions.\1.to_\2."),
    (r"\.attentions\.(\d+)\.proj_out\.", r".attentions.\1.to_out.0."),
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
    """Return the options of AutoencoderKL, AutoencoderKLFlux2 or VQModel that shapes determine.

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
        "down_block_types": _blocks(tensors, "encoder.down_blocks", len(widths)),
        "up_block_types": _blocks(tensors, "decoder.up_blocks", len(widths)),
        "norm_num_groups": NORM_GROUPS,
        "mid_block_add_attention": any(".mid_block.attentions." in key for key in tensors),
    }
    codebook = tensors.get("quantize.embedding.weight")
    if codebook is not None:
        return config | {"num_vq_embeddings": codebook.shape[0], "vq_embed_dim": codebook.shape[1]}
    config |= {
        f"use_{name}": f"{name}.weight" in tensors for name in ("quant_conv", "post_quant_conv")
    }
    if "bn.running_mean" in tensors:
        config["decoder_block_out_channels"] = _widths(tensors, "decoder.up_blocks")[::-1]
    return config


def _blocks(tensors: Mapping[str, Tensor], where: str, levels: int) -> tuple[str, ...]:
    """Return the kind of block of each level: with attention where there are tensors of it."""
    kind = "DownEncoderBlock2D" if where.startswith("encoder") else "UpDecoderBlock2D"
    return tuple(
        f"Attn{kind}" if f"{where}.{level}.attentions.0.to_q.weight" in tensors else kind
        for level in range(levels)
    )


def check_groups(config: Mapping[str, Any], where: str) -> None:
    """Raise WeightsError if the number of groups that is assumed cannot be right."""
    narrow = [width for width in config["block_out_channels"] if width % NORM_GROUPS]
    if narrow:
        raise WeightsError(
            f"{where} with layers of {narrow[0]} channels, which are no {NORM_GROUPS} groups",
            "a config.json beside it, because shapes do not tell norm_num_groups",
            "put the config.json of the model into the same folder",
        )


def _widths(tensors: Mapping[str, Tensor], blocks: str) -> tuple[int, ...]:
    levels = _count(tensors, rf"{re.escape(blocks)}\.(\d+)\.")
    return tuple(
        tensors[f"{blocks}.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)
    )


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many different values the pattern's first group takes."""
    return len({match[1] for key in tensors if (match := re.match(pattern, key))})
