"""From a VAE's own latents to model space and back: one affine map per channel.

diffusers keeps these numbers in its pipelines. Here each family reads them once, and only this
module applies them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Affine:
    """Model space = (latent − shift) · scale, channel by channel; the identity by default.

    Parameters
    ----------
    shift, scale : tuple of float, one per channel, or a single one for all channels

    Examples
    --------
    >>> import torch
    >>> flux = Affine(shift=(0.1159,), scale=(0.3611,))
    >>> latents = torch.randn(1, 16, 4, 4)
    >>> torch.allclose(flux.from_model(flux.to_model(latents)), latents, atol=1e-6)
    True
    >>> flux.describe()
    '(z - 0.1159) * 0.3611'
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    def to_model(self, latents: Tensor) -> Tensor:
        """Return the VAE's own latents (B, C, h, w) in model space."""
        return (latents - _per_channel(self.shift, latents)) * _per_channel(self.scale, latents)

    def from_model(self, latents: Tensor) -> Tensor:
        """Return model-space latents (B, C, h, w) as the VAE's decoder expects them."""
        return latents / _per_channel(self.scale, latents) + _per_channel(self.shift, latents)

    def logvar_to_model(self, logvar: Tensor) -> Tensor:
        """Return the log-variance (B, C, h, w) in model space: logvar + 2 ln |scale|."""
        gain = tuple(2 * math.log(abs(scale)) for scale in self.scale)
        return logvar + _per_channel(gain, logvar)

    def describe(self) -> str:
        """Return the formula with its numbers, for ``run.json``."""
        if self.shift == (0.0,) and self.scale == (1.0,):
            return "none: the model's own latents are model space"
        return f"(z - {_digits(self.shift)}) * {_digits(self.scale)}"


NORMALIZATIONS = {
    "sd15": Affine(scale=(0.18215,)),
    "sdxl": Affine(scale=(0.13025,)),
    "sd3": Affine(shift=(0.0609,), scale=(1.5305,)),
    "flux1": Affine(shift=(0.1159,), scale=(0.3611,)),
}
"""The normalizations of the AutoencoderKL models that cannot be told apart by their shapes."""


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return _placed(values, like.dtype, like.device)


@cache
def _placed(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as (1, C, 1, 1) on a device, copied only once: a GPU waits for each copy."""
    with torch.inference_mode(False):  # autograd cannot save inference tensors
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1)


def _digits(values: Sequence[float]) -> str:
    digits = [f"{value:.8g}" for value in values]
    return digits[0] if len(digits) == 1 else f"[{', '.join(digits)}]"
