"""diffusers' autoencoders: what they have in common, and the three simplest families.

Model space is (z − shift)·scale, and (z − mean)·scale/std if the configuration has
``latents_mean`` and ``latents_std``, as in diffusers' image-to-image pipelines.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latentlab.errors import MissingExtraError
from latentlab.latents import LatentSpec
from latentlab.loaders.families import ModuleVAE
from latentlab.loaders.ldm import rename
from latentlab.loaders.normalization import Affine
from latentlab.loaders.registered import FAMILIES

_OLD_ATTENTION = (
    (r"\.attentions\.0\.query\.", ".attentions.0.to_q."),
    (r"\.attentions\.0\.key\.", ".attentions.0.to_k."),
    (r"\.attentions\.0\.value\.", ".attentions.0.to_v."),
    (r"\.attentions\.0\.proj_attn\.", ".attentions.0.to_out.0."),
)


_RATIO = "spatial_compression_ratio"


class DiffusersVAE(ModuleVAE):
    """A family of diffusers, whose class there has the family's name.

    Attributes
    ----------
    levels : str, option that lists one value per resolution, each half the one before
    channels : str, option that is the number of latent channels
    colors : options that count the channels of images
    has_logvar : bool, whether the encoder returns a log-variance
    ignored_options : options that diffusers writes into config.json but does not read back
    """

    levels: ClassVar[str] = "block_out_channels"
    channels: ClassVar[str] = "latent_channels"
    colors: ClassVar[Sequence[str]] = ("in_channels", "out_channels", "input_channels", "out_ch")
    has_logvar: ClassVar[bool] = False
    ignored_options: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def build_module(cls, config: Mapping[str, Any]) -> nn.Module:
        """Return diffusers' module; raises ValueError if images differ in their channels.

        An older diffusers without the class raises MissingExtraError.
        """
        colors = cls.count_colors(config)
        for option in cls.colors:
            if config.get(option, colors) != colors:
                raise ValueError(
                    f"{option} = {config[option]} where the images that it encodes have {colors}"
                )
        library = import_module("diffusers")
        # A module is built without values, but constants of the library's files, which are imported
        # here, need theirs.
        with torch.device("cpu"):
            diffusers_class = getattr(library, cls.family, None)
        if diffusers_class is None:
            raise MissingExtraError(
                f"diffusers {library.__version__} without {cls.family}",
                "a version that has this class",
                "run pip install --upgrade diffusers",
            )
        module: nn.Module = diffusers_class(**cls._known_options(diffusers_class, config))
        return module

    @classmethod
    def count_colors(cls, config: Mapping[str, Any]) -> int:
        """Return the number of channels that the encoder takes and the decoder returns."""
        stated = (config[option] for option in cls.colors if config.get(option))
        return int(next(stated, 3))

    @classmethod
    def read_image_channels(cls, module: Any) -> int:
        """Return the channels of images."""
        return cls.count_colors(module.config)

    @classmethod
    def read_spec(cls, module: Any, name: str) -> LatentSpec:
        """Return channels from the configuration and the stride."""
        channels = module.config[cls.channels]
        return LatentSpec(name, channels, cls.read_stride(module), has_logvar=cls.has_logvar)

    @classmethod
    def read_stride(cls, module: Any) -> int:
        """Return the compression that the module states, or a factor of two after each level."""
        stated = vars(module).get(_RATIO) or module.config.get(_RATIO)
        return int(stated or 2 ** (len(module.config[cls.levels]) - 1))

    @classmethod
    def read_normalization(cls, module: Any) -> Affine:
        """Return shift and scale, or means and standard deviations, of the configuration."""
        config = module.config
        scale = config.get("scaling_factor") or 1.0
        means, deviations = config.get("latents_mean"), config.get("latents_std")
        if means is not None and deviations is not None:
            return Affine(tuple(means), tuple(scale / std for std in deviations))
        return Affine((config.get("shift_factor") or 0.0,), (scale,))

    @classmethod
    def read_assumption(cls, module: Any) -> str:
        """Return that model space is the encoder's own space, if no scale is published."""
        if any(module.config.get(option) for option in ("scaling_factor", "latents_mean")):
            return ""
        return (
            f"{cls.family} without a published scale of its latents: model space is the encoder's "
            "own space, whose standard deviation may be far from 1"
        )

    def _run_encoder(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        encoded = self.module.encode(images)
        posterior = getattr(encoded, "latent_dist", None)
        if posterior is None:
            return encoded[0], None
        return posterior.mode(), posterior.logvar if self.has_logvar else None

    def _run_decoder(self, latents: Tensor) -> Tensor:
        images: Tensor = self.module.decode(latents).sample
        return images

    @classmethod
    def _known_options(cls, diffusers_class: type, config: Mapping[str, Any]) -> dict[str, Any]:
        expected = signature(diffusers_class).parameters
        given = {key for key in config if not key.startswith("_")}
        unknown = sorted(given - expected.keys() - cls.ignored_options)
        if unknown:
            warnings.warn(
                f"{cls.family} of this diffusers knows no option {', '.join(unknown)}: "
                "the model is built without it",
                stacklevel=2,
            )
        return {key: value for key, value in config.items() if key in expected}


@FAMILIES.register("AutoencoderKL")
class KLVAE(DiffusersVAE):
    """SD1.x, SDXL, SD3, FLUX.1: a diagonal Gaussian over (C, H/8, W/8).

    The log-variance is clamped to [−30, 20] before the map to model space, as these models
    define their posterior.
    """

    has_logvar = True

    def __init__(self, module: nn.Module, *arguments: Any, **options: Any) -> None:
        super().__init__(module, *arguments, **options)
        from latentlab.loaders.fast_layers import speed_up

        speed_up(self.module)

    @classmethod
    def rename_keys(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights with attention names from before 2023 replaced by today's."""
        return {rename(key, _OLD_ATTENTION): tensor for key, tensor in tensors.items()}


@FAMILIES.register("AutoencoderDC")
class DCVAE(DiffusersVAE):
    """Sana's DC-AE: no posterior, (32, H/32, W/32) and other sizes."""

    levels = "encoder_block_out_channels"


@FAMILIES.register("AutoencoderTiny")
class TinyVAE(DiffusersVAE):
    """TAESD, TAESDXL, TAESD3 and TAEF1 in diffusers' layout: no posterior, (C, H/8, W/8).

    Their latents already are model space. Scale and shift of the configuration are 1 and 0 in
    every published model. They are applied anyway, as in diffusers' pipelines.
    """

    levels = "num_encoder_blocks"
    ignored_options = frozenset({"block_out_channels"})
