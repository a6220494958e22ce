"""Where bfloat16 is exact enough: always for pictures of 8 bits, seldom for small neighborhoods.

A bfloat16 encoder is wrong by a per cent or so of the latent's deviation. That is nothing beside
a neighborhood as wide as ``augment``, and everything beside a ball of radius 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.neighborhoods import neighborhood
from latentlab.neighborhoods.base import SAMPLERS

LARGEST_FLOOR = 0.01
"""Share of a neighborhood's variance that rounding may have before float32 is used."""

_PILOT = 3
_NATIVE = ("avx512_bf16", "amx_bf16", "avx10_1", "bf16")  # the last is ARM's
_AMPERE = (8, 0)


@dataclass(frozen=True)
class Precision:
    """The numbers in which a neighborhood is encoded, and why.

    Parameters
    ----------
    vae : LatentVAE to sample with
    floor : float, mean square error of bfloat16 as a share of the neighborhood's variance, from a
        few samples drawn both ways; None where nothing was compared
    reason : str, in words
    """

    vae: LatentVAE
    floor: float | None
    reason: str

    def facts(self) -> dict[str, Any]:
        """Return dtype, floor and reason for ``run.json``."""
        return {"encode": _name(self.vae.dtype), "floor": self.floor, "reason": self.reason}


class MixedVAE(LatentVAE):
    """A VAE that encodes in one precision and decodes in another.

    Parameters
    ----------
    encoder, decoder : LatentVAE of the same weights; spec, origin and dtype are the encoder's
    """

    def __init__(self, encoder: LatentVAE, decoder: LatentVAE) -> None:
        super().__init__(encoder.spec, encoder.origin, device=encoder.device, dtype=encoder.dtype)
        self.encoder = encoder
        self.decoder = decoder

    @property
    def is_compiled(self) -> bool:
        """Return whether one of the halves is compiled."""
        return self.encoder.is_compiled or self.decoder.is_compiled

    @property
    def tiling(self) -> dict[str, Any] | None:
        """Return that of both halves."""
        return self.encoder.tiling

    def cast(self, dtype: torch.dtype) -> LatentVAE:
        """Return both halves in one dtype."""
        return self.encoder.cast(dtype)

    def activation_bytes(self, height: int, width: int) -> int:
        """Return the bytes that one picture needs in the half that needs more."""
        return self.encoder.activation_bytes(height, width)

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        posterior = self.encoder.encode(images)
        return posterior.mean, posterior.logvar

    def _decode(self, latents: Tensor) -> Tensor:
        return self.decoder.decode(latents)


def native_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware, faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _AMPERE
    if device.type == "cpu":
        # torch tells of a processor's abilities since 2.11; an older one is taken to have none
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(capabilities.get(name, False) for name in _NATIVE)
    return False


def use_exact_float32() -> None:
    """Make float32 on NVIDIA GPUs mean float32, for the whole process.

    By default torch rounds the inputs of convolutions there to TF32, with 10 bits of mantissa to
    bfloat16's 7: an eighth of an error for which bfloat16 was ruled out. The command line does
    this; from Python it is yours to choose.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def with_fast_decoder(vae: LatentVAE) -> LatentVAE:
    """Return a float32 VAE that decodes in bfloat16 where that is native; else the VAE itself.

    The pictures differ by less than a step of 8 bits nearly everywhere (49 to 54 dB on TAEF2).
    What is differentiated should keep the VAE as it is.
    """
    fast = for_data_set(vae)
    return vae if fast is vae else MixedVAE(vae, fast)


def for_data_set(vae: LatentVAE) -> LatentVAE:
    """Return a VAE that encodes in bfloat16 where that is native, for latents of many pictures.

    Pictures differ by about the latents' own deviation, of which rounding is a per cent or two: a
    ten-thousandth of the variance.
    """
    if vae.dtype != torch.float32 or not native_bfloat16(vae.device):
        return vae
    return vae.cast(torch.bfloat16)


def decode_precision(vae: LatentVAE) -> dict[str, str]:
    """Return the dtype that a VAE decodes in, for ``run.json``."""
    decoder = vae.decoder if isinstance(vae, MixedVAE) else vae
    return {"decode": _name(decoder.dtype)}


def choose_precision(
    vae: LatentVAE,
    latent: Latent,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    region: tuple[int, int, int, int] | None = None,
    seed: int = 0,
) -> Precision:
    """Return the VAE to draw a neighborhood with: bfloat16 where its rounding does not show.

    A few samples are drawn in both precisions. Where their mean square difference, the floor, is
    more than :data:`LARGEST_FLOOR` of the variance between samples, float32 stays.

    Parameters
    ----------
    vae : LatentVAE, float32
    latent : Latent, encoded with it
    name, options, region, seed : as for :func:`latentlab.neighborhood`

    Raises
    ------
    UsageError, ShapeError : as for :func:`latentlab.neighborhood`.
    """
    if not SAMPLERS[name].encodes:
        return Precision(vae, None, "nothing is encoded")
    if vae.dtype != torch.float32:
        return Precision(vae, None, "asked for")
    if not native_bfloat16(vae.device):
        return Precision(vae, None, f"{vae.device} has no native bfloat16")
    fast = vae.cast(torch.bfloat16)
    if fast is vae:
        return Precision(vae, None, "this model has one precision")
    floor = measure_floor(vae, fast, latent, name, options, region=region, seed=seed)
    if floor is None:
        return Precision(vae, None, "a few samples are all alike")
    enough = floor <= LARGEST_FLOOR
    comparison = f"rounding to bfloat16 is {floor:.2%} of the neighborhood's variance"
    return Precision(
        fast if enough else vae, floor, f"{comparison}, {'at' if enough else 'not at'} most 1 %"
    )


def measure_floor(
    exact: LatentVAE,
    fast: LatentVAE,
    latent: Latent,
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    region: tuple[int, int, int, int] | None = None,
    seed: int = 0,
) -> float | None:
    """Return the mean square difference of samples drawn by two VAEs, over their variance.

    What all samples are wrong by alike does not count, for PCA removes it with the mean. None for
    samples that do not vary.
    """
    drawn = [
        neighborhood(
            vae, latent, name, samples=_PILOT, seed=seed, region=region, **dict(options or {})
        ).samples.double()
        for vae in (exact, fast)
    ]
    variance = drawn[0].var(0).sum()
    error = (drawn[1] - drawn[0]).var(0).sum()
    return float(error / variance) if variance > 0 else None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
