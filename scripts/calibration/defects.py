"""Healthy VAEs with exactly one defect, at a strength that a viewer would just notice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from latentlab.loaders.base import LatentVAE

LEVEL = 1 / 127.5
"""One level of 255, of images in [−1, 1]."""

Change = Callable[[Tensor], Tensor]


def unchanged(values: Tensor) -> Tensor:
    """Return the values."""
    return values


class Planted(LatentVAE):
    """A VAE with a defect before or behind its halves.

    Parameters
    ----------
    inner : LatentVAE
    before_encode, after_encode, before_decode, after_decode : what the defect makes of a batch
    middle : module, optional, that decoded images pass in the VAE's own dtype
    name : str, optional
    """

    def __init__(
        self,
        inner: LatentVAE,
        *,
        before_encode: Change = unchanged,
        after_encode: Change = unchanged,
        before_decode: Change = unchanged,
        after_decode: Change = unchanged,
        middle: nn.Module | None = None,
        name: str | None = None,
    ) -> None:
        spec = replace(inner.spec, name=name or inner.spec.name)
        super().__init__(spec, inner.origin, device=inner.device, dtype=inner.dtype)
        self.inner, self.middle = inner, middle
        self.changes = (before_encode, after_encode, before_decode, after_decode)

    def cast(self, dtype: torch.dtype) -> LatentVAE:
        """Return the same with an inner VAE of another dtype."""
        names = ("before_encode", "after_encode", "before_decode", "after_decode")
        how: dict[str, Any] = dict(zip(names, self.changes, strict=True))
        return Planted(self.inner.cast(dtype), middle=self.middle, name=self.spec.name, **how)

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        posterior = self.inner.encode(self.changes[0](images.float()))
        return self.changes[1](posterior.mean), posterior.logvar

    def _decode(self, latents: Tensor) -> Tensor:
        images = self.changes[3](self.inner.decode(self.changes[2](latents.float())))
        return images if self.middle is None else self.middle(images.to(self.dtype))


class Remembering(LatentVAE):
    """A VAE that computes every image and every latent once: a defect behind it costs nothing."""

    def __init__(self, inner: LatentVAE) -> None:
        super().__init__(inner.spec, inner.origin, device=inner.device, dtype=inner.dtype)
        self.inner = inner
        self.known: dict[tuple[str, bytes], Tensor] = {}

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._each("encode", images, lambda one: self.inner.encode(one).mean), None

    def _decode(self, latents: Tensor) -> Tensor:
        return self._each("decode", latents, self.inner.decode)

    def _each(self, half: str, batch: Tensor, run: Change) -> Tensor:
        results = []
        for one in batch:
            key = (half, one.contiguous().numpy().tobytes())
            if key not in self.known:
                self.known[key] = run(one[None])[0]
            results.append(self.known[key])
        return torch.stack(results)


@dataclass(frozen=True)
class Defect:
    """One defect.

    Parameters
    ----------
    finding : str, the examination that must name it
    plant : (VAE, seed) → the VAE with the defect
    also : str, another examination that must name it, too
    """

    finding: str
    plant: Callable[[LatentVAE, int], LatentVAE]
    also: str = ""

    @property
    def findings(self) -> tuple[str, ...]:
        """Return the examinations that must name it."""
        return (self.finding, self.also) if self.also else (self.finding,)


def _checkerboard(images: Tensor) -> Tensor:
    down, across = (torch.arange(side) for side in images.shape[-2:])
    return images + 3 * LEVEL * (1 - 2 * ((down[:, None] + across) % 2))


def _grid(images: Tensor, stride: int) -> Tensor:
    lines = torch.zeros(images.shape[-2:])
    lines[::stride], lines[:, ::stride] = 1, 1
    return images - 7 * LEVEL * lines


def _reddish(images: Tensor) -> Tensor:
    return images + torch.tensor([9.0, -3.0, -3.0]).view(3, 1, 1) * LEVEL


def _blurred(images: Tensor, sigma: float = 1.0) -> Tensor:
    reach = 4
    bell = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    kernel = (bell / bell.sum()).expand(3, 1, 1, -1)
    wide = conv2d(pad(images, (reach, reach, 0, 0), mode="reflect"), kernel, groups=3)
    tall = pad(wide, (0, 0, reach, reach), mode="reflect")
    return conv2d(tall, kernel.transpose(2, 3), groups=3)


def _softened(images: Tensor, keep: int = 2, side: int = 8) -> Tensor:
    """Keep the keep × keep lowest frequencies of each patch: what a latent too small would do."""
    n = torch.arange(side, dtype=torch.float32)
    basis = torch.cos(torch.pi * (n + 0.5) * n[:keep, None] / side)
    basis = basis / basis.norm(dim=1, keepdim=True)
    patch = basis.T @ basis
    batch, channels, height, width = images.shape
    blocks = images.reshape(batch, channels, height // side, side, width // side, side)
    return torch.einsum("ij,bcyjxk,kl->bcyixl", patch, blocks, patch).reshape(images.shape)


def _brighter(images: Tensor, levels: float, rows: slice, columns: slice) -> Tensor:
    changed = images.clone()
    changed[..., rows, columns] += levels * LEVEL
    return changed


def _droplet(latents: Tensor, seed: int) -> Tensor:
    """Make one cell ten times as loud as the root mean square, where no surroundings are cut."""
    generator = torch.Generator().manual_seed(seed)
    y, x = (int(torch.randint(2, side - 2, (), generator=generator)) for side in latents.shape[-2:])
    changed = latents.clone()
    signs = torch.randn(latents.shape[1], generator=generator).sign()
    changed[..., y, x] = 10 * latents.std((2, 3)) * signs
    return changed


def _black_hole(latents: Tensor, seed: int) -> Tensor:
    changed = latents.clone()
    channel = seed % latents.shape[1]
    changed[:, channel, 3, 4] = -60 * latents[:, channel].std((1, 2))
    return changed


def _constant(latents: Tensor, channel: int) -> Tensor:
    changed = latents.clone()
    changed[:, channel] = 0.1
    return changed


class Loud(nn.Module):
    """Values times 10⁶, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.louder, self.quieter = Gain(1e6), Gain(1e-6)

    def forward(self, values: Tensor) -> Tensor:
        return self.quieter(self.louder(values))


class Gain(nn.Module):
    """Values times a number."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, values: Tensor) -> Tensor:
        return values * self.gain


def _noisy(scale: float, seed: int) -> Change:
    generator = torch.Generator().manual_seed(seed)
    return lambda values: values + scale * torch.randn(values.shape, generator=generator)


def _scaled(inner: LatentVAE, scale: float, shift: float = 0.0) -> LatentVAE:
    return Planted(
        inner,
        after_encode=lambda z: z * scale + shift,
        before_decode=lambda z: (z - shift) / scale,
    )


def _behind(change: Change) -> Callable[[LatentVAE, int], LatentVAE]:
    return lambda inner, _: Planted(inner, after_decode=change)


_EDGE = slice(None)

DEFECTS: Mapping[str, Defect] = {
    "checkerboard of ±3 levels": Defect("lattice", _behind(_checkerboard)),
    "a line of −7 levels at each cell": Defect(
        "lattice",
        lambda inner, _: Planted(inner, after_decode=lambda x: _grid(x, inner.spec.stride)),
    ),
    "9 levels more red, 3 less green and blue": Defect("color shift", _behind(_reddish)),
    "Gaussian blur, σ 1 pixel": Defect("blur", _behind(_blurred)),
    "the 2×2 lowest frequencies of 8×8 pixels": Defect("lost detail", _behind(_softened)),
    "a corner of 8×8 pixels, 12 levels brighter": Defect(
        "corners", _behind(lambda x: _brighter(x, 12, slice(-8, None), slice(-8, None)))
    ),
    "a border of 8 pixels, 8 levels brighter": Defect(
        "borders", _behind(lambda x: _brighter(x, 8, _EDGE, slice(0, 8)))
    ),
    "a spot of 8×8 pixels, 14 levels brighter": Defect(
        "spots", _behind(lambda x: _brighter(x, 14, slice(40, 48), slice(72, 80)))
    ),
    "a droplet of 10 σ": Defect(
        "droplets",
        lambda inner, seed: Planted(inner, after_encode=lambda z: _droplet(z, seed)),
    ),
    "a value of −60 σ": Defect(
        "black holes",
        lambda inner, seed: Planted(inner, after_encode=lambda z: _black_hole(z, seed)),
    ),
    "a constant channel": Defect(
        "dead channels",
        lambda inner, seed: Planted(
            inner, after_encode=lambda z: _constant(z, seed % inner.spec.channels)
        ),
    ),
    "raw latents of FLUX.1": Defect(
        "unit variance", lambda inner, _: _scaled(inner, 1 / 0.3611, 0.1159), "normalization"
    ),
    "normalized twice as SD 1": Defect(
        "unit variance", lambda inner, _: _scaled(inner, 0.18215), "normalization"
    ),
    "10⁶ inside the decoder": Defect("float16", lambda inner, _: Planted(inner, middle=Loud())),
    "noise of 2 levels at each decode": Defect(
        "repeats", lambda inner, seed: Planted(inner, after_decode=_noisy(2 * LEVEL, seed))
    ),
    "a sample instead of the mean": Defect(
        "repeats", lambda inner, seed: Planted(inner, after_encode=_noisy(0.01, seed))
    ),
    "a tenth of the batch's mean taken off": Defect(
        "batch",
        lambda inner, _: Planted(inner, before_encode=lambda x: x - 0.1 * x.mean((0, 2, 3), True)),
    ),
    "NaN in the latents of dark images": Defect(
        "finite",
        lambda inner, _: Planted(
            inner,
            before_encode=lambda x: torch.where(x.mean((1, 2, 3), True) < 0, torch.nan, x),
        ),
    ),
    "the name of another family": Defect(
        "channels", lambda inner, _: Planted(inner, name="sd15-finetune")
    ),
}
"""What was planted → how, and which examination must name it."""
