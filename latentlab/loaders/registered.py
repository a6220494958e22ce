"""The register of VAE families, apart from the package so that families can import it."""

from __future__ import annotations

from typing import Any

from latentlab.registry import Registry

FAMILIES: Registry[Any] = Registry(
    "model family",
    "latentlab.loaders",
    {
        "AsymmetricAutoencoderKL": "image_families",
        "AutoencoderDC": "diffusers_vae",
        "AutoencoderKL": "diffusers_vae",
        "AutoencoderKLAllegro": "one_frame",
        "AutoencoderKLCogVideoX": "one_frame",
        "AutoencoderKLCosmos": "one_frame",
        "AutoencoderKLFlux2": "flux2",
        "AutoencoderKLHunyuanImage": "image_families",
        "AutoencoderKLHunyuanImageRefiner": "one_frame",
        "AutoencoderKLHunyuanVideo": "one_frame",
        "AutoencoderKLHunyuanVideo15": "one_frame",
        "AutoencoderKLKVAE": "image_families",
        "AutoencoderKLKVAEVideo": "one_frame",
        "AutoencoderKLLTX2Video": "ltx",
        "AutoencoderKLLTXVideo": "ltx",
        "AutoencoderKLMagvit": "one_frame",
        "AutoencoderKLMochi": "one_frame",
        "AutoencoderKLQwenImage": "video",
        "AutoencoderKLQwenImage21": "video",
        "AutoencoderKLTemporalDecoder": "image_families",
        "AutoencoderKLWan": "video",
        "AutoencoderRAE": "image_families",
        "AutoencoderTiny": "diffusers_vae",
        "AutoencoderVidTok": "one_frame",
        "ConsistencyDecoderVAE": "image_families",
        "Kandinsky6SRVAE": "one_frame",
        "PatchTransform": "linear",
        "TAESD": "taesd",
        "VQModel": "image_families",
    },
    attribute="family",
    group="latentlab.families",
    base="families.ModuleVAE",
)
"""Name → subclass of :class:`latentlab.loaders.families.ModuleVAE`."""
