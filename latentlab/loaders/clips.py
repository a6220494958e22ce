"""Clips for diffusers' video autoencoders: a latent for several frames, and one for the first."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from latentlab.loaders.diffusers_vae import DiffusersVAE
from latentlab.machine.memory import memory_errors

_FRAMES = 48
"""Divisible by every number of frames that a published model makes one latent of."""
_SIDE = 64
"""Pixels that are enough for every layer, if a clip of the smallest images is refused."""
_REFUSED = (RuntimeError, ValueError, NotImplementedError, IndexError)


class ClipVAE(DiffusersVAE):
    """A family whose module takes clips (B, 3, T, H, W), and a clip of one frame as an image."""

    @cached_property
    def time_stride(self) -> int:
        """Return how many frames become one latent, found by encoding a black clip.

        Configurations state it under five names, and some state what their layers do not do.
        """
        smallest = self.spec.multiple
        for side in (smallest, smallest * max(2, _SIDE // smallest)):
            try:
                count = self._count_latents(side)
            except _REFUSED:
                continue
            return _FRAMES // count if count > 0 and _FRAMES % count == 0 else 0
        return 0

    def _count_latents(self, side: int) -> int:
        """Return how many latents a clip of black images has, without that of its first frame."""
        alone = int(self.first_frame_alone)
        clip = torch.zeros(1, 3, _FRAMES + alone, side, side, dtype=self.image_dtype)
        what = f"a clip of {_FRAMES + alone} frames of {side}×{side} pixels"
        with torch.inference_mode(), memory_errors(what, "choose another --device"):
            return self._encode_clip(clip.to(self.device))[0].shape[2] - alone

    @property
    def first_frame_alone(self) -> bool:
        """Return True: the first frame is encoded by itself."""
        return True

    def _encode_frames(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, logvar = self._encode_clip(frames.transpose(0, 1).unsqueeze(0).contiguous())
        if logvar is not None:
            logvar = self.normalization.logvar_to_model(_in_order(logvar))
        return self._to_model(_in_order(mean)), logvar

    def _to_model(self, latents: Tensor) -> Tensor:
        """Return the latents (t, C, h, w) of a clip in model space."""
        return self.normalization.to_model(latents)

    def _encode_clip(self, clip: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the module's own mean and log-variance (B, C, t, h, w)."""
        return super()._run_encoder(clip)


def _in_order(latents: Tensor) -> Tensor:
    return latents[0].transpose(0, 1).float()
