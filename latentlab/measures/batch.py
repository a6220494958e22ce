"""Images of one shape on their way through a model, each half of it run at most once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.latents import Posterior
from latentlab.loaders.base import LatentVAE
from latentlab.measures.memory import ImageMemory
from latentlab.measures.protocols import Protocol
from latentlab.metrics.ssim import similarity

Pair = tuple[Tensor, Tensor]


@dataclass(eq=False)
class Batch:
    """Images of one shape, and what a model makes of them once somebody asks.

    Parameters
    ----------
    vae : LatentVAE
    protocol : Protocol
    images : Tensor, (b, 3, H, W) in [−1, 1]
    paths : of the images
    first : int, number of the first image among all
    memory : ImageMemory, optional; of the numbers of single images
    """

    vae: LatentVAE
    protocol: Protocol
    images: Tensor
    paths: tuple[str, ...]
    first: int = 0
    memory: ImageMemory | None = None
    _known: dict[Hashable, Pair] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def head(self, count: int) -> Batch:
        """Return the first so many images as a batch, with what is already computed for them."""
        if count >= len(self):
            return self
        images, paths = self.images[:count], self.paths[:count]
        found = Batch(self.vae, self.protocol, images, paths, self.first, self.memory)
        for name in ("latents", "decoded"):
            if name in vars(self):
                setattr(found, name, getattr(self, name)[:count])
        if "posterior" in vars(self):
            whole = self.posterior
            logvar = None if whole.logvar is None else whole.logvar[:count]
            found.posterior = replace(whole, mean=whole.mean[:count], logvar=logvar)
        return found

    @cached_property
    def posterior(self) -> Posterior:
        """Return the posterior (b, C, h, w) of the images, on the CPU."""
        return encode_batch(self.vae, self.images)

    @cached_property
    def latents(self) -> Tensor:
        """Return the latents (b, C, h, w) that are decoded: means or samples of the posterior."""
        mean, logvar = self.posterior.mean, self.posterior.logvar
        if self.protocol.latent == "mean" or logvar is None:
            return mean
        drawn = []
        for number in range(self.first, self.first + len(self)):
            # Each image has its own generator, so that the batch size changes nothing.
            generator = torch.Generator().manual_seed(self.protocol.seed * 2**32 + number)
            drawn.append(torch.randn(mean.shape[1:], generator=generator))
        return mean + torch.stack(drawn) * (logvar / 2).exp()

    @cached_property
    def decoded(self) -> Tensor:
        """Return the reconstructions (b, 3, H, W), not clamped, on the CPU."""
        return torch.stack([*decode_each(self.vae, self.latents)])

    def compared(self, protocol: Protocol | None = None) -> tuple[Tensor, Tensor]:
        """Return images and reconstructions (b, c, H, W), float64, black 0 and white 1.

        Parameters
        ----------
        protocol : Protocol, optional; clamps, rounds and colors as another one does
        """
        how = protocol or self.protocol
        return self.once(
            ("unit", how.clamp, how.rounding, how.color),
            lambda: (how.to_unit(self.images), how.to_unit(self.decoded)),
        )

    def similarity(self, protocol: Protocol) -> tuple[Tensor, Tensor]:
        """Return SSIM and its contrast (b, c) of the channels of :meth:`compared`."""
        how = protocol
        window: dict[str, Any] = {
            "window": how.ssim_window,
            "side": how.ssim_side,
            "sigma": how.ssim_sigma,
            "data_range": how.data_range,
        }
        key = ("similarity", how.clamp, how.rounding, how.color, *window.values())
        return self.once(key, lambda: similarity(*self.compared(how), **window))

    def once(self, key: Hashable, compute: Callable[[], Pair]) -> Pair:
        """Return what is computed, or what was computed for this key before."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]
