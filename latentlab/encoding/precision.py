"""Where bfloat16 is exact enough, and VAEs that compute in two precisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latentlab.loaders.base import LatentVAE

_NATIVE = ("avx512_bf16", "amx_bf16", "avx10_1", "bf16")  # the last is ARM's
_AMPERE = (8, 0)


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
        """Return the bytes that one image needs in the half that needs more."""
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

    The images differ by less than a step of 8 bits nearly everywhere (49 to 54 dB on TAEF2).
    What is differentiated should keep the VAE as it is.
    """
    fast = for_data_set(vae)
    return vae if fast is vae else MixedVAE(vae, fast)


def for_data_set(vae: LatentVAE) -> LatentVAE:
    """Return a VAE that encodes in bfloat16 where that is native, for latents of many images.

    Images differ by about the latents' own deviation, of which rounding is a per cent or two: a
    ten-thousandth of the variance.
    """
    if vae.dtype != torch.float32 or not native_bfloat16(vae.device):
        return vae
    return vae.cast(torch.bfloat16)


def decode_precision(vae: LatentVAE) -> dict[str, str]:
    """Return the dtype that a VAE decodes in, for ``run.json``."""
    decoder = vae.decoder if isinstance(vae, MixedVAE) else vae
    return {"decode": dtype_name(decoder.dtype)}


def dtype_name(dtype: torch.dtype) -> str:
    """Return a dtype's name without ``torch.``."""
    return str(dtype).removeprefix("torch.")
