"""The register of VAE families, apart from the package so that families can import it."""

from __future__ import annotations

from typing import Any

from latentlab.registry import Registry

FAMILIES: Registry[Any] = Registry(
    "model family",
    "latentlab.loaders",
    {
        "AutoencoderDC": "diffusers_vae",
        "AutoencoderKL": "diffusers_vae",
        "AutoencoderKLFlux2": "flux2",
        "AutoencoderKLQwenImage": "video",
        "AutoencoderKLWan": "video",
        "AutoencoderTiny": "diffusers_vae",
        "PatchTransform": "linear",
        "TAESD": "taesd",
    },
    attribute="family",
)
"""Name → subclass of :class:`latentlab.loaders.families.ModuleVAE`."""
