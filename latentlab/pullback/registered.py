"""The register of feature maps, apart from the package so that they can import it."""

from __future__ import annotations

from typing import Any

from latentlab.registry import Registry

FEATURES: Registry[Any] = Registry(
    "features",
    "latentlab.pullback",
    dict.fromkeys(("identity", "blurred", "laplacian"), "features"),
)
"""Name → subclass of :class:`latentlab.pullback.features.FeatureMap`."""
