"""diffusers' video autoencoders applied to one image, which is a clip of one frame.

Inside they are 5-D, (B, C, T, H, W). Their first frame is encoded by itself, so one frame has a
latent of its own, (B, C, h, w). Two families need a still clip instead, of as many equal frames as
become one frame of the latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latentlab.latents import LatentSpec
from latentlab.loaders.clips import ClipVAE
from latentlab.loaders.normalization import Affine
from latentlab.loaders.registered import FAMILIES
from latentlab.loaders.stated import SIGMA_DATA


class OneFrameVAE(ClipVAE):
    """A video family; by default a diagonal Gaussian, times ``scaling_factor``.

    Attributes
    ----------
    one_by_one : bool, whether diffusers' class confuses the images of a batch
    """

    has_logvar = True
    one_by_one: ClassVar[bool] = False

    def __init__(self, module: nn.Module, *arguments: Any, **options: Any) -> None:
        super().__init__(module, *arguments, **options)
        if self.one_by_one:
            self.module.use_slicing = True

    @classmethod
    def clip_length(cls, module: Any) -> int:
        """Return how many equal frames the encoder gets."""
        return 1

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return the length of the clip if it is not one frame."""
        length = cls.clip_length(module)
        still = f"an image is encoded as a still clip of {length} frames; the first one is decoded"
        return (still,) if length > 1 else ()

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        clip = images.unsqueeze(2).repeat(1, 1, self.clip_length(self.module), 1, 1)
        mean, logvar = self._encode_clip(clip)
        return mean.squeeze(2), None if logvar is None else logvar.squeeze(2)

    def _run_decoder(self, latents: Tensor) -> Tensor:
        return self._decode_clip(latents.unsqueeze(2))[:, :, 0]

    def _decode_clip(self, latents: Tensor) -> Tensor:
        return super()._run_decoder(latents)

    @property
    def first_frame_alone(self) -> bool:
        """Return whether the encoder takes one frame."""
        return self.clip_length(self.module) == 1


@FAMILIES.register("AutoencoderKLHunyuanVideo")
class HunyuanVideoVAE(OneFrameVAE):
    """HunyuanVideo, Kandinsky 5 and 6: (16, H/8, W/8)."""


@FAMILIES.register("AutoencoderKLHunyuanVideo15")
class HunyuanVideo15VAE(OneFrameVAE):
    """HunyuanVideo 1.5: (32, H/16, W/16). Its attention mask fits one image at a time."""

    one_by_one = True


@FAMILIES.register("AutoencoderKLHunyuanImageRefiner")
class RefinerVAE(OneFrameVAE):
    """HunyuanImage 2.1's refiner: (32, H/16, W/16).

    Its pipeline shows the diffusion model these channels twice, as 64.
    """


@FAMILIES.register("AutoencoderKLMagvit")
class MagvitVAE(OneFrameVAE):
    """EasyAnimate: (16, H/8, W/8)."""


@FAMILIES.register("Kandinsky6SRVAE")
class Kandinsky6SRVAE(OneFrameVAE):
    """Kandinsky 6's super-resolution: (64, H/16, W/16); pixels are p/128 − 1, not p/127.5 − 1."""

    @classmethod
    def first_layer(cls, module: Any) -> None:
        """Return nothing: the cached convolutions keep to one dtype."""

    def _encode_clip(self, clip: Tensor) -> tuple[Tensor, Tensor | None]:
        return super()._encode_clip((clip + 1) * (127.5 / 128) - 1)

    def _decode_clip(self, latents: Tensor) -> Tensor:
        return (super()._decode_clip(latents) + 1) * (128 / 127.5) - 1


@FAMILIES.register("AutoencoderKLKVAEVideo")
class KVAEVideo(OneFrameVAE):
    """K-VAE 3D: (16, H/8, W/8); no scale is published, and diffusers discards the log-variance."""

    levels = "ch_mult"
    channels = "z_channels"
    has_logvar = False

    @classmethod
    def first_layer(cls, module: Any) -> None:
        """Return nothing: the cached convolutions keep to one dtype."""


@FAMILIES.register("AutoencoderKLCogVideoX")
class CogVideoXVAE(OneFrameVAE):
    """CogVideoX: (16, H/8, W/8)."""

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return the scale alone: the pipelines ignore the configuration's means and shift."""
        return Affine(scale=(module.config.scaling_factor,))

    @classmethod
    def read_notes(cls, module: Any) -> tuple[str, ...]:
        """Return that conditioning images have another scale, if they have."""
        other = "the pipeline divides conditioning images by the scale, unlike latents to decode"
        return (other,) if module.config.invert_scale_latents else ()


@FAMILIES.register("AutoencoderKLMochi")
class MochiVAE(OneFrameVAE):
    """Mochi 1: (12, H/8, W/8); its encoder adds Fourier features to three colors."""

    colors = ("out_channels",)

    @classmethod
    def first_layer(cls, module: Any) -> nn.Module | None:
        """Return the Fourier features, whose highest frequency no 16-bit image resolves."""
        features: nn.Module = module.encoder.fourier_features
        return features


@FAMILIES.register("AutoencoderKLCosmos")
class CosmosVAE(OneFrameVAE):
    """Cosmos 1: (16, H/8, W/8) without a posterior; statistics of the first frame, times σ_data."""

    has_logvar = False

    @classmethod
    def first_layer(cls, module: Any) -> None:
        """Return nothing: wavelets take the image."""

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return (z − mean)·σ_data/std, as in EDMEulerScheduler, with the first frame's."""
        config = module.config
        if config.latents_mean is None:
            return Affine(scale=(SIGMA_DATA,))
        return _affine_of_frame(config, 0)

    @property
    def most_clip_latents(self) -> int | None:
        """Return how many frames of the latent have statistics."""
        config = self.module.config
        if config.latents_mean is None or self.normalization != _affine_of_frame(config, 0):
            return None
        return len(config.latents_mean) // int(config.latent_channels)

    def _to_model(self, latents: Tensor) -> Tensor:
        """Return a clip's latents by the statistics of each frame of the latent."""
        if self.most_clip_latents is None:
            return super()._to_model(latents)
        config, frames = self.module.config, enumerate(latents)
        return torch.cat([_affine_of_frame(config, k).to_model(one[None]) for k, one in frames])


def _affine_of_frame(config: Any, number: int) -> Affine:
    """Return (z − mean)·σ_data/std with Cosmos' statistics of one frame of the latent."""
    means, deviations = (
        torch.tensor(values, dtype=torch.float64).view(config.latent_channels, -1)[:, number]
        for values in (config.latents_mean, config.latents_std)
    )
    return Affine(tuple(means.tolist()), tuple((SIGMA_DATA / deviations).tolist()))


@FAMILIES.register("AutoencoderKLAllegro")
class AllegroVAE(OneFrameVAE):
    """Allegro: (4, H/8, W/8); diffusers encodes only tiles of 24 frames, so they are left out here.

    One frame of the latent is a still clip of ``temporal_compression_ratio`` frames.
    """

    @classmethod
    def clip_length(cls, module: Any) -> int:
        """Return how many frames become one."""
        return int(module.config.temporal_compression_ratio)

    def _encode_clip(self, clip: Tensor) -> tuple[Tensor, Tensor | None]:
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

        hidden = self.module.encoder(clip)
        frames = self.module.quant_conv(hidden.transpose(1, 2).flatten(0, 1))
        moments = frames.unflatten(0, (len(clip), -1)).transpose(1, 2)
        posterior = DiagonalGaussianDistribution(moments)
        return posterior.mode(), posterior.logvar

    def _decode_clip(self, latents: Tensor) -> Tensor:
        hidden = self.module.post_quant_conv(latents.squeeze(2)).unsqueeze(2)
        images: Tensor = self.module.decoder(hidden)
        return images


@FAMILIES.register("AutoencoderVidTok")
class VidTokVAE(OneFrameVAE):
    """VidTok: causal models of any stride; no scale is published.

    With ``fsq``, latents are those before rounding, which the decoder does.
    """

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return the module; raises ValueError if it takes no clip of one latent frame."""
        if not config.get("is_causal", True):
            raise ValueError("is_causal = False, whose decoder takes no single frame")
        # The codebook of FSQ reads its own numbers.
        with torch.device("cpu") if config.get("regularizer") == "fsq" else nullcontext():
            return super().build_module(config)

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return the spec, with a posterior unless latents are rounded."""
        has_logvar = module.config.regularizer == "kl"
        stride = 2 ** len(module.encoder.spatial_ds)
        return LatentSpec(name, module.config.z_channels, stride, has_logvar=has_logvar)

    @classmethod
    def clip_length(cls, module: Any) -> int:
        """Return how many frames become one."""
        return int(module.temporal_compression_ratio)

    def _encode_clip(self, clip: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.spec.has_logvar:
            encoded = super()._encode_clip(clip)
        else:
            encoded = self.module._encode(clip), None
        self._forget()
        return encoded

    def _decode_clip(self, latents: Tensor) -> Tensor:
        if not self.spec.has_logvar:
            latents, _ = self.module.regularization(latents)
        images: Tensor = self.module.decode(latents)
        self._forget()
        return images

    def _forget(self) -> None:
        """Empty the cache of frames, with whose gradients the module could not be copied."""
        self.module._empty_causal_cached(self.module)
