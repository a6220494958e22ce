"""Metrics of a VAE over a folder of images, in one pass: one family a file, one registry.

``@MEASURES.register("name")`` adds a metric. Its formula belongs to :mod:`latentlab.metrics`.

This is a room of its own because a metric of a VAE needs encoding, the pullback and the statistics
of a store, while :mod:`latentlab.metrics` takes plain arrays and stands before all of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.registry import Registry

if TYPE_CHECKING:
    from latentlab.measures.base import Measure

_FILES = {
    "reconstruction": ("psnr", "mse", "ssim", "ms_ssim"),
    "detail": ("edges", "color_shift"),
    "latents": ("latents",),
    "posterior": ("kl", "posterior_std", "clamped", "active_units"),
    "equivariance": ("equivariance",),
    "augmentation": ("augmentation",),
    "robustness": ("noise", "loops", "precision"),
    "tiling": ("reach", "seams"),
    "dimension": ("dimension",),
    "locality": ("locality", "semantics"),
    "geometry": ("geometry",),
    "distances": ("feature_distance", "interpolation"),
    "perceptual": ("lpips", "dists", "rfid", "fdd"),
    "spectrum": ("sec", "spectrum", "low_pass"),
}
"""Module → the metrics in it."""

MEASURES: Registry[Measure] = Registry(
    "metric",
    __name__,
    {name: file for file, names in _FILES.items() for name in names},
    group="latentlab.metrics",
    base="base.Measure",
)
"""Name → metric."""
