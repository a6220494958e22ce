"""AutoencoderKL: SD1.x, SDXL, SD3 and FLUX.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from latentlab.loaders import FAMILIES
from latentlab.loaders.diffusers_vae import DiffusersVAE
from latentlab.loaders.ldm import rename

_OLD_ATTENTION = (
    (r"\.attentions\.0\.([qkv])(uery|ey|alue)\.", r".attentions.0.to_\1."),
    (r"\.attentions\.0\.proj_attn\.", ".attentions.0.to_out.0."),
)


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
