"""More of diffusers' image autoencoders: their facts, and what sets each of them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latentlab.errors import MissingExtraError
from latentlab.latents import LatentSpec
from latentlab.loaders.diffusers_vae import KLVAE, DiffusersVAE
from latentlab.loaders.normalization import Affine
from latentlab.loaders.registered import FAMILIES

SEED = 0
"""Seed of decoders that draw noise: the same latent always becomes the same image."""


@FAMILIES.register("AsymmetricAutoencoderKL")
class AsymmetricVAE(KLVAE):
    """SD1.x with a wider decoder: (4, H/8, W/8). The decoder's mask is left out."""

    levels = "down_block_out_channels"
    ignored_options = frozenset({"block_out_channels", "force_upcast"})

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return the module; raises ValueError if encoder and decoder differ in their stride."""
        levels = [len(config.get(f"{way}_block_out_channels", ())) for way in ("down", "up")]
        if levels[0] != levels[1]:
            raise ValueError(f"{levels[0]} levels of the encoder and {levels[1]} of the decoder")
        return super().build_module(config)


@FAMILIES.register("AutoencoderKLTemporalDecoder")
class TemporalDecoderVAE(KLVAE):
    """Stable Video Diffusion: SD1.x's encoder, and a decoder that here gets a single frame."""

    def _run_decoder(self, latents: Tensor) -> Tensor:
        images: Tensor = self.module.decode(latents, num_frames=1).sample
        return images


@FAMILIES.register("AutoencoderKLHunyuanImage")
class HunyuanImageVAE(DiffusersVAE):
    """HunyuanImage 2.1: (64, H/32, W/32)."""

    has_logvar = True


@FAMILIES.register("AutoencoderKLKVAE")
class KVAE(DiffusersVAE):
    """K-VAE 2D: (16, H/8, W/8), for which no scale is published."""

    levels = "ch_mult"
    channels = "z_channels"
    has_logvar = True


@FAMILIES.register("VQModel")
class VQVAE(KLVAE):
    """VQ-GAN of LDM and Kandinsky: latents before the codebook, without a posterior.

    The decoder rounds them to the codebook, with gradients passed straight through. Kandinsky's
    MoVQ, known by its spatial norms, skips the codebook and the scale, as in its pipelines.
    """

    has_logvar = False

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return the channels of the codebook, and a factor of two per level after the first."""
        channels = module.config.vq_embed_dim or module.config.latent_channels
        return LatentSpec(name, channels, cls.read_stride(module))

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return LDM's scale; none for Kandinsky, whose pipelines decode latents as they are."""
        return Affine() if _is_spatial(module) else super().read_normalization(module)

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return whether the codebook is used."""
        used = "skips the codebook" if _is_spatial(module) else "rounds to the codebook"
        return (f"latents are those before the codebook; the decoder {used}",)

    def _run_decoder(self, latents: Tensor) -> Tensor:
        if not _is_spatial(self.module):
            # Distances to the codebook have no forward derivative, and rounding needs none.
            rounded = self.module.quantize(latents.detach())[0]
            latents = latents + (rounded - latents).detach()
        images: Tensor = self.module.decode(latents, force_not_quantize=True).sample
        return images

    def code_indices(self, latents: Tensor) -> Tensor:
        """Return the codebook's entry (B, h, w), int64, nearest to each cell of model latents."""
        raw = self.normalization.from_model(latents.to(self.device, self.dtype))
        indices: Tensor = self.module.quantize(raw)[2][2]
        return indices.view(len(latents), *latents.shape[2:])


def _is_spatial(module: Any) -> bool:
    return bool(module.config.norm_type == "spatial")


@FAMILIES.register("ConsistencyDecoderVAE")
class ConsistencyVAE(KLVAE):
    """SD1.x's encoder with DALL·E 3's consistency decoder, which starts from noise.

    The noise has a fixed seed and is the same for every image, so decoding is deterministic.
    """

    levels = "encoder_block_out_channels"
    colors = ("encoder_in_channels",)
    ignored_options = frozenset({"block_out_channels", "force_upcast"})

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return the seed of the decoder's noise."""
        return (f"the decoder's noise has seed {SEED}, for every image alike",)

    def _run_decoder(self, latents: Tensor) -> Tensor:
        alike = [torch.Generator().manual_seed(SEED) for _ in latents]
        images: Tensor = self.module.decode(latents, generator=alike).sample
        return images


@FAMILIES.register("AutoencoderRAE")
class RAE(DiffusersVAE):
    """Representation autoencoder: the tokens of a frozen DINOv2, SigLIP 2 or MAE, (C, H/16, W/16).

    It takes one size, usually 256×256 px, and images in [0, 1]. The statistics, per channel or
    per position, are inside the class: its own latents are model space.
    """

    channels = "encoder_hidden_size"
    colors = ("num_channels",)
    shaped_statistics = True

    @classmethod
    def first_layer(cls, module: Any) -> None:
        """Return nothing: the image is resized and standardized first."""

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return the module; raises ValueError if its latents are tokens instead of a grid."""
        try:
            import transformers  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                f"{cls.family} without transformers",
                "the library of its encoder",
                "run pip install transformers",
            ) from error
        if not config.get("reshape_to_2d", True):
            raise ValueError("reshape_to_2d = False, but only a grid of latents is supported")
        return super().build_module(config)

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return the stride, and the image's only side as the multiple."""
        config, side = module.config, module.decoder.image_size
        return LatentSpec(name, config[cls.channels], config.patch_size, multiple=side)

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the identity: the module applies its own statistics."""
        return Affine()

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return where the statistics are applied."""
        return ("latents are standardized inside the model",)

    @property
    def only_side(self) -> int | None:
        """Return the side of the only images that the model takes."""
        return self.spec.multiple

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return super()._run_encoder((images + 1) / 2)

    def _run_decoder(self, latents: Tensor) -> Tensor:
        return 2 * super()._run_decoder(latents) - 1
