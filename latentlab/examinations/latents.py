"""Faults of latents: not finite, of a wrong scale, dead channels, droplets and black holes.

All functions take latents, a sequence of (C, h, w) in model space, and return a :class:`Finding`.
Thresholds were chosen like those of :mod:`latentlab.examinations.reconstruction`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentlab.examinations.findings import Finding, Place, below, beyond, unexamined
from latentlab.loaders.normalization import NORMALIZATIONS, Affine
from latentlab.metrics.moments import DEAD, alive_channels, loud_deviation

if TYPE_CHECKING:
    from torch import Tensor

Latents = Sequence["Tensor"]

CANDIDATES: Mapping[str, Affine] = {**NORMALIZATIONS, "sana": Affine(scale=(0.41407,))}
"""Name of a family → its normalization, with one scale for all channels."""

SMALLEST, LARGEST = 0.4, 1.7
"""Typical deviations of healthy models: photos with linear, linear32, mini and TAEF2 had .42 to
1.51, even one by one."""
_CLOSE = 1.6
"""Factor from 1 within which a candidate's deviation must lie to be named."""
_SILENT = 1e-6
_CONSTANT = "the latents do not vary"
_RING = 5
_LOUD = 4.0


def examine_finite(latents: Latents, decoded: Sequence[Tensor]) -> Finding:
    """Return whether latents or reconstructions hold NaN or infinity; the value counts images."""
    import torch

    def broken(arrays: Sequence[Tensor]) -> list[int]:
        return [k for k, array in enumerate(arrays) if not bool(torch.isfinite(array).all())]

    at_encode, at_decode = broken(latents), broken(decoded)
    half = "encode" if at_encode else "decode"
    count = len({*at_encode, *at_decode})
    return beyond(
        "finite",
        count,
        0,
        "images",
        says=f"{count} of {len(latents)} images give NaN or infinity"
        + (f" when the model {half}s" if count else ""),
        reason="numbers must be finite",
        advice="check that the model's weights are whole, and load it in float32 or bfloat16 if it "
        "was not",
    )


def typical_deviation(latents: Latents) -> float:
    """Return the typical standard deviation: √(that of all values × geometric mean of channels').

    The first alone follows the loudest channel, the second the quiet ones. Dead channels are left
    out. NaN without values.

    Examples
    --------
    >>> import torch
    >>> latents = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> round(typical_deviation(3 * latents), 1)
    3.0
    """
    values = _by_channel(latents)
    each = values.std(1)
    alive = alive_channels(each)
    if not alive.any():
        return 0.0 if values.numel() else math.nan
    return float((values[alive].std() * each[alive].log().mean().exp()).sqrt())


def examine_deviation(latents: Latents) -> Finding:
    """Return whether latents are far from unit variance; see :func:`typical_deviation`."""
    value = typical_deviation(latents)
    if not value > _SILENT:
        return unexamined("unit variance", _CONSTANT)
    wide = value > 1
    judge = beyond if wide else below
    return judge(
        "unit variance",
        value,
        LARGEST if wide else SMALLEST,
        "typical σ",
        says=f"latents have a typical standard deviation of {value:.3g}",
        reason=f"diffusion models expect 1; healthy models have {SMALLEST:g} to {LARGEST:g}",
        advice=f"multiply latents by {1 / value:.3g}, or measure each channel: "
        "latentlab models --measure MODEL --images FOLDER",
    )


def examine_normalization(latents: Latents) -> Finding:
    """Return whether latents look like raw ones of a known family, or like twice normalized ones.

    Where their scale is that of no healthy model, the known normalizations are tried, and undone,
    and the one that comes closest to unit variance is named. Families of other channel counts are
    tried too, but lose a draw. Raw latents of SD 3 have a deviation of about 0.65, which healthy
    ones have too: those are not told.
    """
    before = typical_deviation(latents)
    if not before > _SILENT:
        return unexamined("normalization", _CONSTANT)
    channels = latents[0].shape[0]
    best = min(_remedies(), key=lambda one: one.distance(before, channels))
    after = before * best.factor
    found = not SMALLEST <= before <= LARGEST and 1 / _CLOSE < after < _CLOSE
    says = f"typical σ {before:.3g}: " + (
        f"these look like {best.what}; {best.formula} gives {after:.2g}"
        if found
        else "no known normalization would bring it closer to 1"
    )
    return Finding(
        "normalization",
        found,
        before,
        LARGEST if before > 1 else SMALLEST,
        "typical σ",
        says,
        "tried where unit variance is missed; a candidate must come within a factor of 1.6 of 1",
        f"load the model with the config.json that came with its weights, {best.loading}or apply "
        f"{best.formula}",
    )


@dataclass(frozen=True)
class _Remedy:
    """A known normalization, or its inverse for latents that were normalized twice."""

    name: str
    affine: Affine
    undo: bool

    @property
    def factor(self) -> float:
        return 1 / self.affine.scale[0] if self.undo else self.affine.scale[0]

    @property
    def formula(self) -> str:
        shift, scale = f"{self.affine.shift[0]:g}", f"{self.affine.scale[0]:g}"
        if shift == "0":
            return f"z / {scale}" if self.undo else f"z · {scale}"
        return f"z / {scale} + {shift}" if self.undo else f"(z − {shift}) · {scale}"

    @property
    def what(self) -> str:
        return f"{'latents normalized twice as' if self.undo else 'raw latents of'} {self.name}"

    @property
    def loading(self) -> str:
        name = "none" if self.undo else self.name
        known = self.undo or self.name in NORMALIZATIONS
        return f"as MODEL@{name} if it is a single file, " if known else ""

    def distance(self, deviation: float, channels: int) -> float:
        """Return how far from 1 it ends, in nepers; families of other channels a bit farther."""
        far = abs(math.log(deviation * self.factor))
        return far + (0 if channels in _CHANNELS[self.name] else 0.2)


def _remedies() -> list[_Remedy]:
    return [_Remedy(name, one, undo) for undo in (False, True) for name, one in CANDIDATES.items()]


_CHANNELS = {"sd15": (4,), "sdxl": (4,), "sd3": (16,), "flux1": (16,), "sana": (32,)}


def examine_channels(latents: Latents) -> Finding:
    """Return whether a channel is dead or constant: hardly any deviation beside loud channels."""
    values = _by_channel(latents)
    each = values.std(1)
    loud = loud_deviation(each).clamp_min(1e-12) if values.numel() else math.nan
    value = float(each.min() / loud) if values.numel() else math.nan
    dead = [int(k) for k in (each < DEAD * loud).nonzero().flatten()]
    which = f"channel{'s' if len(dead) > 1 else ''} {', '.join(map(str, dead))}" if dead else (
        f"channel {int(each.argmin())}, the quietest,"
    )  # fmt: skip
    return below(
        "dead channels",
        value,
        DEAD,
        "σ of loud channels",
        says=f"{which} of {len(each)} {'vary' if len(dead) > 1 else 'varies'} by {value:.2g} of "
        "what loud channels do (the upper quartile of deviations)",
        reason="quietest channels of healthy models have 0.05 or more, even of one photo",
        advice="such a channel carries nothing (a collapsed posterior): train with less KL weight, "
        "or leave it out of every analysis",
    )


def examine_droplets(latents: Latents, stride: int) -> Finding:
    """Return whether cells stand out from their surroundings by their norm.

    The value is the norm of a cell, with channels in standard deviations from their mean, over the
    largest norm in the ring of 16 cells two cells away. Only cells of norm 4 times the root mean
    square or more count: a flat image has quiet surroundings.
    """
    import torch
    from torch.nn.functional import pad

    if min(min(latent.shape[-2:]) for latent in latents) < _RING:
        return unexamined("droplets", f"latents of at least {_RING} × {_RING} cells are needed")
    best, place = 0.0, None
    ring = torch.ones(_RING, _RING, dtype=torch.bool)
    ring[1:-1, 1:-1] = False
    for number, norms in enumerate(norms_of(latents)):
        padded = pad(norms[None, None], (2, 2, 2, 2), mode="replicate")[0, 0]
        around = padded.unfold(0, _RING, 1).unfold(1, _RING, 1)[..., ring].amax(-1)
        ratio = torch.where(norms > _LOUD, norms / around.clamp_min(0.1), torch.zeros(()).double())
        if float(ratio.max()) > best:
            best, place = float(ratio.max()), _at(number, ratio, stride)
    return beyond(
        "droplets",
        best,
        3,
        "× surroundings",
        says=f"the loudest lone cell has {best:.2g} times the norm of its surroundings"
        if best
        else "no cell is louder than 4 times the root mean square",
        reason="photos on healthy models had 2.2 at most among loud cells",
        advice="the encoder hides information in a few cells: mask them when a diffusion model is "
        "trained, or replace group norms by ones that keep the magnitude",
        place=place,
    )


def examine_outliers(latents: Latents, stride: int) -> Finding:
    """Return whether single values lie far outside: black holes.

    The value is the largest distance from a channel's mean, in deviations of the inner 99 % of its
    values.
    """
    import torch

    values = _by_channel(latents)
    center = values.median(1, keepdim=True).values
    sizes = (values - center).abs()
    kept = sizes.sort(1).values[:, : max(1, int(0.99 * sizes.shape[1]))]
    scale = kept.square().mean(1).sqrt().clamp_min(1e-12)
    worst, place = 0.0, None
    # Constant channels have no deviation to measure with: they are a finding of their own.
    alive = alive_channels(values.std(1))
    for number, latent in enumerate(latents):
        far = ((latent.flatten(1).double() - center).abs() / scale[:, None])[alive]
        if far.numel() and float(far.max()) > worst:
            worst = float(far.max())
            cells = far.amax(0).view(latent.shape[-2:])
            place = _at(number, cells, stride)
    if not torch.isfinite(torch.tensor(worst)):
        return unexamined("black holes", "no channel varies")
    return beyond(
        "black holes",
        worst,
        45,
        "σ of the inner 99 %",
        says=f"the farthest value is {worst:.3g} deviations away",
        reason="patch transforms, whose values have the heaviest tails, had up to 43 on photos",
        advice="clip latents before training a diffusion model on them, and look at what the cell "
        "shows: models of this kind hide the image's brightness there",
        place=place,
    )


def norms_of(latents: Latents) -> list[Tensor]:
    """Return the norm (h, w) of each latent's cells, in root mean squares over all cells.

    Channels are measured in standard deviations from their mean first.
    """
    values = _by_channel(latents)
    mean, deviation = values.mean(1)[:, None, None], values.std(1).clamp_min(1e-12)[:, None, None]
    root = math.sqrt(len(values))
    return [((latent.double() - mean) / deviation).norm(dim=0) / root for latent in latents]


def _by_channel(latents: Latents) -> Tensor:
    import torch

    return torch.cat([latent.double().flatten(1) for latent in latents], 1)


def _at(number: int, values: Tensor, stride: int) -> Place:
    y, x = divmod(int(values.argmax()), values.shape[1])
    return Place(number, (x * stride, y * stride, stride, stride), in_latent=True)
