"""One small random-weight model of every family, with normalizations that are not the identity.

``TINY[family]()`` builds the module; ``save_tiny(family, folder)`` writes it in its published
layout: a diffusers folder, or TAESD's two files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from tiny_families import OPTIONS, tiny
from torch import nn

from latentlab.loaders.linear import PatchTransform
from latentlab.loaders.taesd import TAESD

LEVELS: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "sample_size": 32,
}
VIDEO: dict[str, Any] = {
    "base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [True],
}
MEANS = [0.3, -0.7, 0.1, 1.4]
DEVIATIONS = [2.1, 0.6, 1.3, 0.9]


def shake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Return the module with random norms and biases, so that none of them is left untested."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.ndim == 1 and tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator))
    return module.eval()


def tiny_kl(**options: Any) -> nn.Module:
    torch.manual_seed(1)
    given = {"latent_channels": 4, "scaling_factor": 0.18215, **options}
    return shake(diffusers.AutoencoderKL(**(LEVELS | given)))


def tiny_flux2(**options: Any) -> nn.Module:
    torch.manual_seed(2)
    return shake(diffusers.AutoencoderKLFlux2(**(LEVELS | {"latent_channels": 4} | options)))


def tiny_tiny(**options: Any) -> nn.Module:
    torch.manual_seed(3)
    sizes = {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 2),
        "num_decoder_blocks": (2, 1),
        "latent_channels": 4,
    }
    return shake(diffusers.AutoencoderTiny(**(sizes | options)))


def tiny_dc(**options: Any) -> nn.Module:
    torch.manual_seed(4)
    return shake(
        diffusers.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=8,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 16),
            decoder_block_out_channels=(8, 16),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            scaling_factor=0.41407,
            **options,
        )
    )


def tiny_qwen(**options: Any) -> nn.Module:
    torch.manual_seed(5)
    given = {"latents_mean": MEANS, "latents_std": DEVIATIONS, **options}
    return shake(diffusers.AutoencoderKLQwenImage(**(VIDEO | given)))


def tiny_wan(**options: Any) -> nn.Module:
    torch.manual_seed(6)
    given = {"latents_mean": MEANS, "latents_std": DEVIATIONS, **options}
    return shake(diffusers.AutoencoderKLWan(**(VIDEO | given)))


def tiny_taesd(*, pooled: bool = True) -> nn.Module:
    torch.manual_seed(7)
    return shake(TAESD(taesd_shapes(pooled=pooled)))


def taesd_shapes(*, width: int = 8, channels: int = 4, pooled: bool = True) -> dict[str, Any]:
    """Return names and shapes of a TAESD checkpoint with one halving and one doubling."""
    square = (width, width, 3, 3)

    def conv(name: str, shape: tuple[int, ...], *, bias: bool = True) -> dict[str, Any]:
        return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})

    def block(name: str, *, pool: bool = False) -> dict[str, Any]:
        shapes = conv(f"{name}.conv.0", square)
        shapes |= conv(f"{name}.conv.2", square) | conv(f"{name}.conv.4", square)
        if pool:
            shapes |= conv(f"{name}.pool.0", (4 * width, width, 1, 1), bias=False)
            shapes |= conv(f"{name}.pool.1", (4 * width,))
            shapes |= conv(f"{name}.pool.3", (width, 4 * width, 1, 1), bias=False)
        return shapes

    return {
        **conv("encoder.0", (width, 3, 3, 3)),
        **block("encoder.1"),
        **conv("encoder.2", square, bias=False),
        **block("encoder.3", pool=pooled),
        **conv("encoder.4", (channels, width, 3, 3)),
        **conv("decoder.1", (width, channels, 3, 3)),
        **block("decoder.3", pool=pooled),
        **conv("decoder.5", square, bias=False),
        **block("decoder.6"),
        **conv("decoder.7", (3, width, 3, 3)),
    }


def tiny_patches() -> nn.Module:
    """Return an orthonormal transform of 2×2 patches to 4 channels."""
    module = PatchTransform(4, 2)
    generator = torch.Generator().manual_seed(9)
    rows = torch.linalg.qr(torch.randn(12, 12, generator=generator))[0][:4].contiguous()
    module.basis.data = rows.reshape(4, 3, 2, 2).contiguous()
    module.mean.data = 0.1 * torch.randn(3, 2, 2, generator=generator)
    return module.eval()


def tiny_shaken(family: str, **options: Any) -> nn.Module:
    return shake(tiny(family, **options))


TINY: dict[str, Callable[..., nn.Module]] = {
    "AutoencoderKL": tiny_kl,
    "AutoencoderKLFlux2": tiny_flux2,
    "AutoencoderTiny": tiny_tiny,
    "AutoencoderDC": tiny_dc,
    "AutoencoderKLQwenImage": tiny_qwen,
    "AutoencoderKLWan": tiny_wan,
    "PatchTransform": tiny_patches,
    "TAESD": tiny_taesd,
    **{family: partial(tiny_shaken, family) for family in OPTIONS},
}


def ldm_tensors(
    *,
    widths: tuple[int, ...] = (32, 64),
    channels: int = 4,
    layers: int = 1,
    quant: bool = True,
    device: str = "cpu",
) -> dict[str, torch.Tensor]:
    """Return random weights of an autoencoder under CompVis' names, level by level."""
    generator = torch.Generator().manual_seed(8)
    tensors: dict[str, torch.Tensor] = {}

    def conv(name: str, entering: int, leaving: int, side: int = 3) -> None:
        shape = (leaving, entering, side, side)
        scale = (entering * side**2) ** -0.5
        tensors[f"{name}.weight"] = (torch.randn(shape, generator=generator) * scale).to(device)
        tensors[f"{name}.bias"] = (torch.randn(leaving, generator=generator) / 9).to(device)

    def norm(name: str, width: int) -> None:
        tensors[f"{name}.weight"] = (1 + torch.rand(width, generator=generator)).to(device)
        tensors[f"{name}.bias"] = torch.rand(width, generator=generator).to(device)

    def block(name: str, entering: int, leaving: int) -> None:
        norm(f"{name}.norm1", entering)
        conv(f"{name}.conv1", entering, leaving)
        norm(f"{name}.norm2", leaving)
        conv(f"{name}.conv2", leaving, leaving)
        if entering != leaving:
            conv(f"{name}.nin_shortcut", entering, leaving, 1)

    def middle(half: str, width: int) -> None:
        block(f"{half}.mid.block_1", width, width)
        norm(f"{half}.mid.attn_1.norm", width)
        for name in ("q", "k", "v", "proj_out"):
            conv(f"{half}.mid.attn_1.{name}", width, width, 1)
        block(f"{half}.mid.block_2", width, width)

    top, last = widths[-1], len(widths) - 1
    conv("encoder.conv_in", 3, widths[0])
    width = widths[0]
    for level, wanted in enumerate(widths):
        for index in range(layers):
            block(f"encoder.down.{level}.block.{index}", width, wanted)
            width = wanted
        if level < last:
            conv(f"encoder.down.{level}.downsample.conv", width, width)
    middle("encoder", top)
    norm("encoder.norm_out", top)
    conv("encoder.conv_out", top, 2 * channels)
    conv("decoder.conv_in", channels, top)
    middle("decoder", top)
    for level in reversed(range(len(widths))):
        for index in range(layers + 1):
            block(f"decoder.up.{level}.block.{index}", width, widths[level])
            width = widths[level]
        if level:
            conv(f"decoder.up.{level}.upsample.conv", width, width)
    norm("decoder.norm_out", widths[0])
    conv("decoder.conv_out", widths[0], 3)
    if quant:
        conv("quant_conv", 2 * channels, 2 * channels, 1)
        conv("post_quant_conv", channels, channels, 1)
    return tensors


def save_tiny(family: str, folder: Path, **options: Any) -> nn.Module:
    """Write a tiny model into a new folder and return it."""
    module = TINY[family](**options)
    folder.mkdir(parents=True, exist_ok=True)
    if family == "TAESD":
        save_halves(module, folder)
    elif isinstance(module, PatchTransform):
        config = {"_class_name": family, "latent_channels": 4, "patch_size": 2}
        (folder / "config.json").write_text(json.dumps(config))
        save_file(module.state_dict(), folder / "diffusion_pytorch_model.safetensors")
    else:
        module.save_pretrained(folder)  # type: ignore[operator]
    return module


def save_halves(module: Any, folder: Path) -> None:
    """Write encoder and decoder of a TAESD module as two files."""
    for name in ("encoder", "decoder"):
        save_file(getattr(module, name).state_dict(), folder / f"tiny_{name}.safetensors")
