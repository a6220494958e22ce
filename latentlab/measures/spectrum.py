"""Where in frequency the latents have their energy, and what is left without the high ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latentlab.encoding.encoder import decode_each
from latentlab.measures import MEASURES
from latentlab.measures.base import Columns, Finished, ImageTally, PerImage, Tally, value_of
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import Array, quotient
from latentlab.metrics.dct import (
    high_energy,
    low_pass,
    profiles,
    share_of_cells,
    slopes,
)
from latentlab.metrics.fidelity import squared_errors

SHARES = (0.25, 0.5)
KEPT = (0.75, 0.5, 0.25)
_FAMILY = "ranks only within one family of tokenizers; FLUX against SD is outside the evidence"


@MEASURES.register("sec")
@dataclass(frozen=True)
class SEC(PerImage):
    """Spectral energy concentration: share of a channel's energy above a frequency."""

    label = "SEC"
    bounds = (0.0, 1.0)
    span = "0 to 1; white noise has the share of frequencies above it"
    needs = ("latents",)
    formula = (
        "2-D DCT of each channel, centered and scaled to variance 1 over all images; share of the "
        "energy with u + v > ρ (H + W − 2): `sec_25` for ρ = .25, `sec_50` for ρ = .5"
    )
    reference = "arXiv 2606.03578"
    evidence = "how much of the latents is fine detail, which diffusion learns last"
    not_evidence = _FAMILY
    oracle = "SciPy's `fft.dctn`, Parseval, the share of cells for white noise"

    def begin(self, protocol: Protocol) -> Tally:
        return _SECTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        high, whole, mean = high_energy(batch.latents, SHARES)
        return {"sec": torch.cat([high.flatten(1), whole, mean], 1)}

    def statistic(self, name: str, means: Array) -> Array:
        return quotient(means)


class _SECTally(Tally):
    """Energies of each image and channel, whose common mean and scale are known at the end."""

    def __init__(self, measure: SEC) -> None:
        self._measure = measure
        self._rows: list[Tensor] = []
        self._cells: list[int] = []
        self._channels = 1
        self._by_chance = dict.fromkeys(SHARES, 0.0)

    def add(self, batch: Batch) -> None:
        rows = self._measure.columns(batch)["sec"]
        height, width = batch.latents.shape[2:]
        self._channels = batch.latents.shape[1]
        self._rows.append(rows)
        self._cells += [height * width] * len(batch)
        for share in SHARES:
            self._by_chance[share] += share_of_cells(height, width, share) * len(batch)

    def finish(self) -> Finished:
        rows, c = torch.cat(self._rows), self._channels
        cells = torch.tensor(self._cells).double()[:, None]
        high = rows[:, : 2 * c].view(-1, c, 2)
        whole, mean = rows[:, 2 * c : 3 * c], rows[:, 3 * c :]
        # The common mean of a channel moves the frequency 0 alone, by mean · √cells.
        center = (mean * cells.sqrt()).sum(0) / cells.sum()
        whole = whole - mean.square() + (mean - center * cells.sqrt()).square()
        scale = cells.sum() / whole.sum(0).clamp_min(1e-30)
        columns, values = {}, {}
        for number, share in enumerate(SHARES):
            name = f"sec_{round(100 * share)}"
            pair = torch.stack([(high[..., number] * scale).sum(1), (whole * scale).sum(1)], 1)
            columns[name] = Columns(pair.numpy(), self._measure, name)
            noise = self._by_chance[share] / len(rows)
            values[name] = value_of(columns[name], f"white noise has {noise:.3f}")
        return Finished(values, columns)


@MEASURES.register("spectrum")
@dataclass(frozen=True)
class SpectrumSlope(PerImage):
    """Slope of the power of latents against frequency, beside that of the images."""

    label = "spectral slope"
    span = "about −4 to 1; white noise has 0, natural images about −2"
    needs = ("latents",)
    formula = (
        "log–log slope of the energy in rings of frequency: `latent_slope` over all channels, "
        "`image_slope` of luma; profiles in the curves `latent_profile`, `image_profile`, "
        "`latent_zigzag`, `image_zigzag`"
    )
    reference = "arXiv 2603.14645"
    evidence = "whether latents have more fine detail than images"
    not_evidence = _FAMILY
    oracle = "SciPy's `fft.dctn`; a planted power law"

    def begin(self, protocol: Protocol) -> Tally:
        return _SlopeTally(self)

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        return _slopes(_profiles(batch))


def _profiles(batch: Batch) -> dict[str, Tensor]:
    """Return the name of a curve → its profile (b, bins) of each image."""
    centered = batch.latents - batch.latents.mean((2, 3), keepdim=True)
    unit = centered / centered.std((2, 3), keepdim=True).clamp_min(1e-12)
    found = {}
    for name, values in (("latent", unit), ("image", batch.images.mean(1, keepdim=True))):
        found[f"{name}_profile"], found[f"{name}_zigzag"] = profiles(values)
    return found


def _slopes(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}_slope": slopes(found[f"{name}_profile"]) for name in ("latent", "image")}


class _SlopeTally(ImageTally):
    """Slopes of images, and the mean profiles as curves."""

    def __init__(self, measure: SpectrumSlope) -> None:
        super().__init__(measure)
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    def add(self, batch: Batch) -> None:
        found = _profiles(batch)
        self.take(batch, _slopes(found))
        self._summed += len(batch)
        for name, profile in found.items():
            self._sums[name] = self._sums.get(name, torch.zeros(())) + profile.sum(0)

    def finish(self) -> Finished:
        found = super().finish()
        curves = {name: (one / self._summed).tolist() for name, one in self._sums.items()}
        return Finished(found.values, found.columns, curves)


@MEASURES.register("low_pass")
@dataclass(frozen=True)
class LowPass(PerImage):
    """Quality of images decoded from latents without their highest frequencies."""

    label = "low-pass decoding"
    unit = "dB"
    span = "0 to the PSNR of the reconstruction"
    needs = ("latents", "vae")
    cost = "3 decodes of each image"
    at_most = 64
    formula = (
        "PSNR of D(z without frequencies u + v > ρ (H + W − 2)) against the image: `low_pass_75`, "
        "`low_pass_50`, `low_pass_25` for ρ = .75, .5, .25; the curve `low_pass`"
    )
    reference = "arXiv 2603.14645"
    evidence = "whether coarse latents decode to coarse images, or to artifacts"
    not_evidence = "how good samples are"
    oracle = "the PSNR of low-passed images, with a linear decoder"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        image = batch.compared()[0]
        found = {}
        for share in KEPT:
            decoded = torch.stack([*decode_each(batch.vae, low_pass(batch.latents, share))])
            errors = squared_errors(image, batch.protocol.to_unit(decoded))
            found[f"low_pass_{round(100 * share)}"] = -10 * errors.log10()
        return found

    def begin(self, protocol: Protocol) -> Tally:
        return _LowPassTally(self)

    def better_of(self, name: str) -> str:
        return "higher"


class _LowPassTally(ImageTally):
    """PSNR of images by the share of the frequencies, which is also a curve."""

    def finish(self) -> Finished:
        found = super().finish()
        names = {f"{share:g}": f"low_pass_{round(100 * share)}" for share in sorted(KEPT)}
        points = {share: found.values[name].value for share, name in names.items()}
        return Finished(found.values, found.columns, {"low_pass": points})
