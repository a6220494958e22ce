"""PSNR, MSE, SSIM and MS-SSIM of reconstructions, as a protocol says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from latentlab.measures import MEASURES
from latentlab.measures.base import ImageTally, PerImage, Tally
from latentlab.measures.batch import Batch
from latentlab.measures.protocols import DEFAULT_PROTOCOL, PROTOCOLS, Protocol
from latentlab.metrics.bootstrap import Array
from latentlab.metrics.fidelity import squared_errors
from latentlab.metrics.ssim import ms_ssim

_LOSSES = "what the encoder and decoder lose, pixel by pixel"
_NOT_LOOKS = "how good samples of a diffusion model look, or whether blur or noise is the loss"


@dataclass(frozen=True)
class _Compared(PerImage):
    """A comparison of images and reconstructions; with ``under`` as another protocol says."""

    under: Protocol | None = None

    def begin(self, protocol: Protocol) -> Tally:
        return ImageTally(self.bound(protocol))

    def bound(self, protocol: Protocol) -> _Compared:
        return replace(self, under=self.under or protocol)

    @property
    def how(self) -> Protocol:
        """Return the protocol; before the metric has begun, the default one."""
        return self.under or PROTOCOLS[DEFAULT_PROTOCOL]


@MEASURES.register("mse")
@dataclass(frozen=True)
class MSE(_Compared):
    """Mean squared error of the reconstructions."""

    label = "MSE"
    positive = True
    unit = "squared range"
    span = "0 (equal) to 1"
    better = "lower"
    formula = "mean of (x − D(E(x)))² over pixels, channels and images; black is 0, white is 1"
    reference = "–"
    evidence = _LOSSES
    not_evidence = _NOT_LOOKS
    oracle = "scikit-image's `mean_squared_error`"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"mse": squared_errors(*batch.compared(self.how))}


@MEASURES.register("psnr")
@dataclass(frozen=True)
class PSNR(_Compared):
    """Peak signal-to-noise ratio, by image or of the pooled error, as the protocol says."""

    label = "PSNR"
    unit = "dB"
    span = "0 to ∞ (equal)"
    better = "higher"
    formula = (
        "10 log₁₀(R² / MSE), R the range of the protocol; the mean over images, or pooled: from "
        "the mean MSE of all images"
    )
    reference = "–"
    evidence = _LOSSES
    not_evidence = f"{_NOT_LOOKS}; figures under different protocols differ by up to 4.5 dB"
    oracle = "scikit-image's `peak_signal_noise_ratio`"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        errors = squared_errors(*batch.compared(self.how)) / self.how.data_range**2
        return {"psnr": errors if self.how.psnr == "pooled" else -10 * errors.log10()}

    def statistic(self, name: str, means: Array) -> Array:
        if self.how.psnr == "image":
            return means[..., 0]
        with np.errstate(divide="ignore"):
            return np.asarray(-10 * np.log10(np.maximum(means[..., 0], 0)))


@MEASURES.register("ssim")
@dataclass(frozen=True)
class SSIM(_Compared):
    """Structural similarity: luminance, contrast and structure in a sliding window."""

    label = "SSIM"
    span = "−1 to 1 (equal)"
    bounds = (-1.0, 1.0)
    better = "higher"
    formula = (
        "mean over positions and channels of (2μₓμᵧ + c₁)(2σₓᵧ + c₂) / ((μₓ² + μᵧ² + c₁)(σₓ² + "
        "σᵧ² + c₂)), c = (0.01 R)², (0.03 R)²; window as the protocol says"
    )
    reference = "Wang et al. 2004"
    evidence = "how much local structure is kept; less sensitive to brightness than PSNR"
    not_evidence = f"{_NOT_LOOKS}; values under different windows differ by .05"
    oracle = "scikit-image's `structural_similarity`"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"ssim": batch.similarity(self.how)[0].mean(1)}


@MEASURES.register("ms_ssim")
@dataclass(frozen=True)
class MSSSIM(_Compared):
    """Multi-scale structural similarity over five scales."""

    label = "MS-SSIM"
    span = "0 to 1 (equal)"
    bounds = (0.0, 1.0)
    better = "higher"
    cost = "as much as SSIM"
    formula = "∏ₖ (mean contrast at scale k)^wₖ, times luminance at the last; Gaussian 11, σ 1.5"
    reference = "Wang et al. 2003"
    evidence = "how much structure is kept at scales of 1 to 16 pixels"
    not_evidence = f"{_NOT_LOOKS}; needs sides above 160 pixels"
    oracle = "pytorch-msssim to 1e-9; a pyramid of scikit-image's `structural_similarity` maps"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        how = self.how
        # Its first scale is SSIM under most protocols.
        shared = (how.ssim_window, how.ssim_side, how.ssim_sigma) == ("gaussian", 11, 1.5)
        first = batch.similarity(how) if shared else None
        found = ms_ssim(*batch.compared(how), data_range=how.data_range, first=first)
        return {"ms_ssim": found}
