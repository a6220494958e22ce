"""When bfloat16 is accurate enough, and VAEs that compute in two precisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latentlab.loaders.base import LatentVAE

BATCH_TOLERANCE = {
    torch.float64: 1e-3,
    torch.float32: 1e-3,
    torch.float16: 0.05,
    torch.bfloat16: 0.2,
}
"""Largest difference of a batch from its images one by one, in standard deviations."""

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
        """Return whether either half is compiled."""
        return self.encoder.is_compiled or self.decoder.is_compiled

    @property
    def tiling(self) -> dict[str, Any] | None:
        """Return the tiling, which both halves share."""
        return self.encoder.tiling

    def cast(self, dtype: torch.dtype) -> LatentVAE:
        """Return a VAE with both halves in this dtype."""
        return self.encoder.cast(dtype)

    def activation_bytes(self, height: int, width: int) -> int:
        """Return the bytes of activations that one image needs."""
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
        # torch reports a processor's capabilities since 2.11; older versions count as having none
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(capabilities.get(name, False) for name in _NATIVE)
    return False


def use_exact_float32() -> None:
    """Make float32 on NVIDIA GPUs mean float32, for the whole process.

    By default torch rounds the inputs of convolutions to TF32, whose mantissa has 10 bits
    (bfloat16: 7). The command line always calls this function; from Python it is your choice.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def with_fast_decoder(vae: LatentVAE) -> LatentVAE:
    """Return a float32 VAE that decodes in bfloat16 if that is native; else the VAE itself.

    The images differ by less than one 8-bit level nearly everywhere (49 to 54 dB on TAEF2). Use
    the original VAE for derivatives.
    """
    fast = for_data_set(vae)
    return vae if fast is vae else MixedVAE(vae, fast)


def for_data_set(vae: LatentVAE) -> LatentVAE:
    """Return a VAE that encodes in bfloat16 if that is native, for latents of many images.

    Rounding is one or two percent of the deviation between images, about a ten-thousandth of the
    variance.
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
