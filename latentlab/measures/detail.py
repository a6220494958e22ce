"""Edges and colors of reconstructions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentlab.images.colors import to_lab, to_yiq
from latentlab.measures import MEASURES
from latentlab.measures.base import PerImage
from latentlab.measures.batch import Batch
from latentlab.metrics.bootstrap import Array, quotient
from latentlab.metrics.detail import gradient_products


@MEASURES.register("edges")
@dataclass(frozen=True)
class Edges(PerImage):
    """Shares of the image's edges, and of their energy, in the reconstruction."""

    label = "edges kept"
    span = "0 (none) to 1 (all); above 1 sharpened"
    formula = (
        "`edge_retention` Σ∇x·∇y / Σ|∇x|², `gradient_retention` Σ|∇y|² / Σ|∇x|², sums over pixels "
        "and images, Sobel's gradient of luma"
    )
    reference = "–"
    evidence = (
        "blur: both below 1. Invented texture: gradient energy far above the square of the edges "
        "kept"
    )
    not_evidence = "whether what is lost is noise of the image"
    oracle = "SciPy's `ndimage.sobel`"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        luma = (to_yiq(one)[:, :1] for one in _rgb(batch))
        products = gradient_products(*luma)
        return {
            "edge_retention": products[:, [0, 1]],
            "gradient_retention": products[:, [2, 1]],
        }

    def statistic(self, name: str, means: Array) -> Array:
        return quotient(means)


@MEASURES.register("color_shift")
@dataclass(frozen=True)
class ColorShift(PerImage):
    """Shift of the mean color of an image, in CIE Lab."""

    label = "color shift"
    unit = "ΔE"
    span = "0 to about 100; 2.3 is just noticeable"
    formula = (
        "`color_shift` mean over images of ‖mean Lab(y) − mean Lab(x)‖; `shift_l`, `shift_a`, "
        "`shift_b` the means of its parts with their signs"
    )
    reference = "CIE 15:2004"
    evidence = "a tint or a change of brightness that all images share (parts far from 0)"
    not_evidence = "local changes of color, which cancel in the mean"
    oracle = "scikit-image's `rgb2lab`"

    def columns(self, batch: Batch) -> Mapping[str, Tensor]:
        # Powers in single precision, a fifth of the time; what is summed is double.
        lab = (to_lab(one.float().clamp(0, 1)) for one in _rgb(batch))
        before, after = (one.mean((2, 3), dtype=torch.float64) for one in lab)
        moved = after - before
        lightness, green_red, blue_yellow = moved.unbind(1)
        return {
            "color_shift": moved.norm(dim=1),
            "shift_l": lightness,
            "shift_a": green_red,
            "shift_b": blue_yellow,
        }

    def bounds_of(self, name: str) -> tuple[float, float]:
        return (0.0 if name == "color_shift" else -math.inf, math.inf)

    def better_of(self, name: str) -> str:
        return "lower" if name == "color_shift" else ""


def _rgb(batch: Batch) -> tuple[Tensor, Tensor]:
    return batch.compared(replace(batch.protocol, color="rgb"))
