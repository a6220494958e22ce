"""Which family a set of tensors belongs to, judged by names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_KL_KINDS = {4: "SD1.x or SDXL", 16: "FLUX.1 or SD3", 32: "FLUX.2"}

LEVELS = 4
"""Resolutions of SD, SDXL, SD3, FLUX.1 and FLUX.2; one with more is none of them."""

_CODEBOOK = "quantize.embedding.weight"

_SIGNS = (
    ("encoder.layers.0.weight", "AutoencoderTiny"),
    ("decoder.layers.0.weight", "AutoencoderTiny"),
    ("encoder.down.0.block.0.conv1.weight", "LDM"),
    ("decoder.up.0.block.0.conv1.weight", "LDM"),
    ("decoder.middle.0.residual.0.gamma", "Wan's original layout"),
    ("decoder.mid_block.resnets.0.norm1.gamma", "AutoencoderKLWan or AutoencoderKLQwenImage"),
    ("decoder.up_blocks.0.resnets.0.conv1.weight", "AutoencoderKL"),
    ("encoder.down_blocks.0.resnets.0.conv1.weight", "AutoencoderKL"),
    ("decoder.up_blocks.0.0.conv.weight", "AutoencoderDC"),
    ("decoder.up_blocks.0.0.conv1.weight", "AutoencoderDC"),
    ("encoder.1.conv.0.weight", "TAESD"),
    ("decoder.3.conv.0.weight", "TAESD"),
    ("1.conv.0.weight", "TAESD encoder"),
    ("3.conv.0.weight", "TAESD decoder"),
)
"""Keys that only one family has; the first one found decides."""

SIGNS = tuple(key for key, _ in _SIGNS)
"""Names of tensors that tell a family."""

OWN_PARTS = {
    **dict.fromkeys(
        ("LDM", "AutoencoderKL", "AutoencoderKLFlux2", "VQModel"),
        ("encoder", "decoder", "quant_conv", "post_quant_conv", "quantize", "bn"),
    ),
    **dict.fromkeys(("TAESD", "AutoencoderTiny"), ("encoder", "decoder")),
}
"""Family → first parts of its names; what trainers keep beside them has others."""


def guess_family(tensors: Mapping[str, Tensor]) -> str:
    """Return the family that the tensors' names belong to; empty if it is unknown.

    ``"LDM"`` stands for AutoencoderKL under CompVis' names, with or without the statistics of
    FLUX.2; ``"TAESD encoder"`` and ``"TAESD decoder"`` are the halves of a checkpoint.
    """
    family = next((family for key, family in _SIGNS if key in tensors), "")
    if family == "AutoencoderKL" and "bn.running_mean" in tensors:
        return "AutoencoderKLFlux2"
    if family == "AutoencoderKL" and _CODEBOOK in tensors:
        return "VQModel"
    return family


def only_own(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of the family itself, and the first parts of the names left out."""
    parts = OWN_PARTS.get(guess_family(tensors))
    if parts is None:
        return dict(tensors), []
    own = {name: one for name, one in tensors.items() if name.partition(".")[0] in parts}
    return own, sorted({name.partition(".")[0] for name in tensors.keys() - own.keys()})


def count_levels(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of resolutions of an AutoencoderKL in either layout."""
    found = (re.match(r"encoder\.down(_blocks)?\.(\d+)\.", name) for name in tensors)
    return len({match[2] for match in found if match})


def describe_weights(tensors: Mapping[str, Tensor]) -> str:
    """Return a short statement of the family that weights look like.

    Examples
    --------
    >>> import torch
    >>> describe_weights({"encoder.layers.0.weight": torch.zeros(64, 3, 3, 3)})
    'these weights look like AutoencoderTiny'
    """
    family = guess_family(tensors)
    if family == "LDM" and _CODEBOOK in tensors:
        return "these weights look like VQModel"
    if family in {"AutoencoderKL", "LDM"}:
        return f"these weights look like AutoencoderKL with {_describe_channels(tensors)}"
    if family:
        return f"these weights look like {family}"
    if any("transformer" in key or "diffusion_model" in key for key in tensors):
        return "these weights look like a diffusion model, not like a VAE"
    return "these weights look like none of the known families"


def _describe_channels(tensors: Mapping[str, Tensor]) -> str:
    first = tensors.get("decoder.conv_in.weight")
    if first is None or first.ndim < 2:
        return "its decoder missing"
    channels = first.shape[1]
    kind = _KL_KINDS.get(channels) if count_levels(tensors) <= LEVELS else None
    return f"{channels} latent channels" + (f": this looks like {kind}" if kind else "")
