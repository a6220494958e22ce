"""Tiny configurations, with random weights, of the families that differ from others in facts only.

``tiny(family)`` builds the module. ``SIZES`` has channels and stride where they are not (4, 2).
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import nn

KL2D: dict[str, Any] = {"latent_channels": 4, "norm_num_groups": 4, "sample_size": 32}
CLIP: dict[str, Any] = {"latent_channels": 4, "layers_per_block": 1, "block_out_channels": (8, 8)}
HUNYUAN: dict[str, Any] = {"spatial_compression_ratio": 2, "temporal_compression_ratio": 2}
MEANS, DEVIATIONS = [0.3, -0.7, 0.1, 1.4], [2.1, 0.6, 1.3, 0.9]


def blocks(kind: str, count: int = 2) -> dict[str, Any]:
    """Return the types of the blocks on both ways, such as AllegroDownBlock3D."""
    return {f"{way}_block_types": (kind.format(way.title()),) * count for way in ("down", "up")}


OPTIONS: dict[str, dict[str, Any]] = {
    "AsymmetricAutoencoderKL": {
        **KL2D,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "down_block_out_channels": (8, 16),
        "up_block_out_channels": (12, 20),
    },
    "AutoencoderKLAllegro": {
        **CLIP,
        **blocks("Allegro{}Block3D"),
        "temporal_downsample_blocks": (True, False),
        "temporal_upsample_blocks": (False, True),
        "temporal_compression_ratio": 2,
        "norm_num_groups": 4,
        "sample_size": 32,
    },
    "AutoencoderKLCogVideoX": {
        **CLIP,
        **blocks("CogVideoX{}Block3D"),
        "norm_num_groups": 4,
        "temporal_compression_ratio": 2,
        "shift_factor": 0.5,
        "latents_mean": MEANS,
        "latents_std": DEVIATIONS,
        "invert_scale_latents": True,
    },
    "AutoencoderKLCosmos": {
        **HUNYUAN,
        "latent_channels": 4,
        "encoder_block_out_channels": (8, 8),
        "decode_block_out_channels": (8, 8),
        "attention_resolutions": (),
        "resolution": 32,
        "num_layers": 1,
        "patch_size": 2,
        "latents_mean": [value for mean in MEANS for value in (mean, 9.0)],
        "latents_std": [value for deviation in DEVIATIONS for value in (deviation, 9.0)],
    },
    "AutoencoderKLHunyuanImage": {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "spatial_compression_ratio": 2,
        "sample_size": 32,
        "scaling_factor": 0.75289,
    },
    "AutoencoderKLHunyuanImageRefiner": {**CLIP, **HUNYUAN},
    "AutoencoderKLHunyuanVideo": {
        **CLIP,
        **HUNYUAN,
        **blocks("HunyuanVideo{}Block3D"),
        "norm_num_groups": 4,
        "temporal_compression_ratio": 4,
    },
    "AutoencoderKLHunyuanVideo15": {**CLIP, **HUNYUAN},
    "AutoencoderKLKVAE": {
        "channels": 32,
        "num_enc_blocks": 1,
        "num_dec_blocks": 1,
        "z_channels": 4,
        "ch_mult": (1, 1),
        "sample_size": 32,
    },
    "AutoencoderKLKVAEVideo": {
        "ch": 32,
        "ch_mult": (1, 1),
        "num_res_blocks": 1,
        "z_channels": 4,
        "temporal_compress_times": 2,
    },
    "AutoencoderKLLTXVideo": {
        "latent_channels": 4,
        "block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "down_block_types": ("LTXVideoDownBlock3D",) * 2,
        "layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1),
        "spatio_temporal_scaling": (True, False),
        "decoder_spatio_temporal_scaling": (True, False),
        "decoder_inject_noise": (True, False, False),
        "downsample_type": ("conv", "conv"),
        "upsample_residual": (False, False),
        "upsample_factor": (1, 1),
        "patch_size": 1,
        "timestep_conditioning": True,
    },
    "AutoencoderKLLTX2Video": {
        "latent_channels": 4,
        "block_out_channels": (8, 8),
        "decoder_block_out_channels": (8,),
        "down_block_types": ("LTX2VideoDownBlock3D",) * 2,
        "layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1),
        "spatio_temporal_scaling": (True, True),
        "decoder_spatio_temporal_scaling": (True,),
        "decoder_inject_noise": (False, False),
        "downsample_type": ("temporal", "spatiotemporal"),
        "upsample_type": ("spatiotemporal",),
        "upsample_residual": (False,),
        "upsample_factor": (1,),
        "patch_size": 1,
    },
    "AutoencoderKLMagvit": {
        **CLIP,
        "down_block_types": ["SpatialDownBlock3D", "SpatialTemporalDownBlock3D"],
        "up_block_types": ["SpatialUpBlock3D", "SpatialTemporalUpBlock3D"],
        "norm_num_groups": 4,
    },
    "AutoencoderKLMochi": {
        "encoder_block_out_channels": (32, 32),
        "decoder_block_out_channels": (32, 32),
        "layers_per_block": (1, 1, 1),
        "temporal_expansions": (2,),
        "spatial_expansions": (2,),
        "add_attention_block": (False, False, False),
        "scaling_factor": 0.8,
    },
    "AutoencoderKLQwenImage21": {
        "base_dim": 8,
        "decoder_base_dim": 8,
        "z_dim": 4,
        "dim_mult": [1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [True],
        "latents_mean": MEANS,
        "latents_std": DEVIATIONS,
    },
    "AutoencoderKLTemporalDecoder": {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "block_out_channels": (32, 32),
        "latent_channels": 4,
        "sample_size": 32,
    },
    "AutoencoderRAE": {
        "encoder_hidden_size": 64,
        "encoder_num_hidden_layers": 1,
        "encoder_input_size": 56,
        "decoder_hidden_size": 16,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 16,
        "patch_size": 4,
        "latents_mean": [[[0.5]]] * 64,
        "latents_std": [[[2.0]]] * 64,
        "scaling_factor": 0.8,
    },
    "AutoencoderVidTok": {
        "ch": 32,
        "ch_mult": [1, 1],
        "z_channels": 4,
        "num_res_blocks": 1,
        "spatial_ds": [0],
        "tempo_ds": [0],
        "spatial_us": [1],
        "tempo_us": [1],
    },
    "ConsistencyDecoderVAE": {
        "encoder_block_out_channels": (8, 16),
        "encoder_down_block_types": ("DownEncoderBlock2D",) * 2,
        "encoder_layers_per_block": 1,
        "encoder_norm_num_groups": 4,
        "decoder_block_out_channels": (8, 16),
        "decoder_down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "decoder_up_block_types": ("ResnetUpsampleBlock2D",) * 2,
        "decoder_layers_per_block": 1,
        "decoder_norm_num_groups": 4,
        "sample_size": 32,
    },
    "Kandinsky6SRVAE": {
        "latent_channels": 4,
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "layers_per_block": 1,
        "temporal_compression_ratio": 2,
        "temporal_compression_start_level": 0,
    },
    "VQModel": {
        **KL2D,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 16),
        "num_vq_embeddings": 16,
    },
}

SIZES = {"AutoencoderKLMochi": (12, 2), "AutoencoderRAE": (64, 4)}
"""Latent channels and stride of the tiny models; (4, 2) for all others."""

UNSCALED = {"AutoencoderKLKVAE", "AutoencoderKLKVAEVideo", "AutoencoderVidTok"}
"""Families for which no scale is published, which loading them says."""


def tiny(family: str, **options: Any) -> nn.Module:
    """Return a tiny model of a family, with statistics and a codebook that are not trivial."""
    torch.manual_seed(11)
    module: Any = getattr(diffusers, family)(**(OPTIONS[family] | options))
    statistics = {"latents_mean": MEANS, "latents_std": DEVIATIONS}
    for name, buffer in module.named_buffers():
        if name in statistics:
            buffer.copy_(torch.tensor(statistics[name]))
    if hasattr(module, "quantize"):
        module.quantize.embedding.weight.data.normal_()
    built: nn.Module = module
    return built
