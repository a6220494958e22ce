"""Noise on latents, repeated encoding and decoding, and computing with fewer digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentlab.encoding.encoder import decode_each, encode_batch
from latentlab.errors import UsageError
from latentlab.images.colors import to_lab, to_yiq
from latentlab.measures import MEASURES
from latentlab.measures.base import Finished, ImageTally, PerImage, Tally
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import Protocol
from latentlab.metrics.bootstrap import Array, quotient, root_quotient
from latentlab.metrics.detail import gradient_products
from latentlab.metrics.fidelity import squared_errors

NOISE = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Standard deviations of the noise, in model space."""
LOOPS = 4
CHANNELS = "loop_channels"
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class _CurveTally(ImageTally):
    """Numbers of images whose values are also the points of a curve."""

    def __init__(self, measure: PerImage, curve: str) -> None:
        super().__init__(measure)
        self._curve = curve

    def finish(self) -> Finished:
        found = super().finish()
        prefix = f"{self._curve}_"
        points = {
            name.removeprefix(prefix): value.value
            for name, value in found.values.items()
            if name.startswith(prefix) and _is_number(name.removeprefix(prefix))
        }
        return Finished(found.values, found.columns, {self._curve: points})


class _LoopsTally(_CurveTally):
    """Numbers of images, and how far each channel drifted, which is a curve."""

    def finish(self) -> Finished:
        channels = np.array([*self._rows.pop(CHANNELS, {}).values()])
        found = super().finish()
        drift = np.sqrt(channels.mean(0)).tolist()
        return replace(found, curves={**found.curves, CHANNELS: drift})


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


@MEASURES.register("noise")
@dataclass(frozen=True)
class NoiseRobustness(PerImage):
    """PSNR of images decoded from noisy latents, against those decoded without noise."""

    label = "noise robustness"
    unit = "dB"
    span = "0 to ∞"
    better = "higher"
    needs = ("reconstructions", "latents", "vae")
    cost = "5 decodes of each image"
    at_most = 32
    formula = (
        "PSNR of D(z + σε) against D(z), ε standard normal with a seed of its own for each image: "
        "`noise_σ` for σ = 0.05, 0.1, 0.2, 0.5, 1 in model space; the curve `noise`"
    )
    reference = "–"
    evidence = "how much error of a diffusion model the decoder forgives"
    not_evidence = "robustness in another space: σ is in units of model space, so check its scale"
    oracle = "a linear decoder, where the error is σ² times the mean squared gain"

    def begin(self, protocol: Protocol) -> Tally:
        return _CurveTally(self, "noise")

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        drawn = []
        for number in range(batch.first, batch.first + len(batch)):
            generator = torch.Generator().manual_seed(number)
            drawn.append(torch.randn(batch.latents.shape[1:], generator=generator))
        noise, found = torch.stack(drawn), {}
        for sigma in NOISE:
            moved = torch.stack([*decode_each(batch.vae, batch.latents + sigma * noise)])
            errors = squared_errors(moved.clamp(-1, 1), batch.decoded.clamp(-1, 1))
            found[f"noise_{sigma:g}"] = 10 * (4 / errors).log10()
        return found


@MEASURES.register("loops")
@dataclass(frozen=True)
class Loops(PerImage):
    """What repeated encoding and decoding does to an image and to its latent."""

    label = "encode–decode loops"
    unit = "dB"
    span = "0 to ∞"
    bounds = (0.0, math.inf)
    better = "higher"
    needs = ("reconstructions", "latents", "vae")
    cost = "3 encodes and decodes of each image"
    at_most = 32
    formula = (
        "xₙ = D(E(xₙ₋₁)), clamped, not rounded: `loops_n` the PSNR of xₙ against the image, n = 1 "
        "to 4; `loop_settles` ‖zₙ − zₙ₋₁‖ / ‖z₂ − z₁‖ for the last n: below 1 it settles. Where it "
        "drifts between the first and the last reconstruction: `loop_color` the distance of the "
        "mean Lab, `loop_detail` Σ|∇xₙ|² / Σ|∇x₁|² of luma (below 1 it blurs, above 1 it invents), "
        "and the curve `loop_channels` the RMS change of each channel of the latent"
    )
    reference = "diffusers #10204"
    evidence = "whether editing in rounds degrades an image, and whether that stops"
    not_evidence = "quality after one reconstruction"
    oracle = (
        "an orthonormal linear model, which is settled after one loop; one that darkens, by hand; "
        "scikit-image's `rgb2lab`, SciPy's `ndimage.sobel`"
    )

    def begin(self, protocol: Protocol) -> Tally:
        return _LoopsTally(self, "loops")

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        latents, images, found = batch.latents, batch.decoded.clamp(-1, 1), {}
        steps = []
        found["loops_1"] = 10 * (4 / squared_errors(images, batch.images)).log10()
        for number in range(2, LOOPS + 1):
            again = encode_batch(batch.vae, images).mean
            steps.append((again - latents).double().flatten(1).square().sum(1))
            latents = again
            images = torch.stack([*decode_each(batch.vae, latents)]).clamp(-1, 1)
            found[f"loops_{number}"] = 10 * (4 / squared_errors(images, batch.images)).log10()
        found["loop_settles"] = torch.stack([steps[-1], steps[0]], 1)
        ends = [(one.clamp(-1, 1) + 1) / 2 for one in (batch.decoded, images)]
        before, after = (to_lab(one).mean((2, 3), dtype=torch.float64) for one in ends)
        found["loop_color"] = (after - before).norm(dim=1)
        edges = gradient_products(*(to_yiq(one)[:, :1] for one in ends))
        found["loop_detail"] = edges[:, [2, 1]]
        found[CHANNELS] = (latents - batch.latents).double().square().mean((2, 3))
        return found

    def statistic(self, name: str, means: Array) -> Array:
        if name == "loop_settles":
            return root_quotient(means)
        return quotient(means) if name == "loop_detail" else means[..., 0]

    def better_of(self, name: str) -> str:
        return {"loop_settles": "lower", "loop_color": "lower", "loop_detail": ""}.get(
            name, "higher"
        )

    def unit_of(self, name: str) -> str:
        return {"loop_settles": "", "loop_color": "ΔE", "loop_detail": ""}.get(name, "dB")


@MEASURES.register("precision")
@dataclass(frozen=True)
class PrecisionLoss(PerImage):
    """Error and overflow of the model in float16 and bfloat16."""

    label = "precision"
    span = "0 to ∞"
    bounds = (0.0, math.inf)
    needs = ("reconstructions", "latents", "vae")
    cost = "2 encodes and decodes of each image, and two copies of the weights"
    at_most = 8
    formula = (
        "`float16_encode`, `bfloat16_encode`: RMS error of the latent over its standard deviation; "
        "`…_decode`: PSNR in dB against the decoder as it is; `…_overflow`: share of images with "
        "NaN or infinity"
    )
    reference = "–"
    evidence = "whether 16 bits are safe for this model on this machine"
    not_evidence = "speed; errors on other devices differ in the last digits"
    oracle = "PyTorch's rounding of a linear model"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        if batch.vae.dtype.itemsize < 4:
            raise UsageError(
                f"a model in {batch.vae.dtype}", "one in float32", "pass --dtype float32"
            )
        found: dict[str, Tensor] = {}
        for name, dtype in HALVES.items():
            copy = batch.vae.cast(dtype)
            if copy is batch.vae:
                raise UsageError("a model that has one dtype", "one with weights", "leave it out")
            with torch.inference_mode():
                latents = copy.encode(batch.images).mean.cpu()
                images = copy.decode(batch.latents).cpu()
            bad = ~(latents.flatten(1).isfinite().all(1) & images.flatten(1).isfinite().all(1))
            found[f"{name}_overflow"] = bad.double()
            errors = squared_errors(latents, batch.posterior.mean)
            variance = batch.posterior.mean.double().flatten(1).var(1)
            found[f"{name}_encode"] = torch.stack([errors, variance], 1).where(~bad[:, None], _NAN)
            decoded = squared_errors(images.clamp(-1, 1), batch.decoded.clamp(-1, 1))
            found[f"{name}_decode"] = (10 * (4 / decoded).log10()).where(~bad, _NAN)
        return found

    def statistic(self, name: str, means: Array) -> Array:
        return root_quotient(means) if name.endswith("_encode") else means[..., 0]

    def is_share(self, name: str) -> bool:
        return name.endswith("_overflow")

    def unit_of(self, name: str) -> str:
        return "dB" if name.endswith("_decode") else "share"

    def better_of(self, name: str) -> str:
        return "higher" if name.endswith("_decode") else "lower"


_NAN = torch.tensor(math.nan, dtype=torch.float64)
