"""Curves of several models over each other, as panels of one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Panel = dict[str, tuple[list[float], list[float]]]

PANELS: Mapping[str, tuple[str, str, str]] = {
    "latent_profile": ("power of latents", "frequency / Nyquist", "power"),
    "token_variance": ("explained variance of tokens", "components", "cumulative share"),
    "augment_variance": ("explained variance of augment", "components", "cumulative share"),
    "noise": ("robustness to noise", "σ of the noise", "PSNR against D(z), dB"),
    "low_pass": ("low-pass decoding", "share of frequencies kept", "PSNR against the image, dB"),
    "loops": ("encode–decode loops", "loops", "PSNR against the image, dB"),
}
"""Curve → title and axes of its panel."""


def panels_of(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Panel]:
    """Return title of a panel → model → x and y, for the curves that were measured.

    Parameters
    ----------
    models : model → name of a curve → its points, as metrics return them

    Examples
    --------
    >>> panels_of({"mini": {"loops": {"1": 30.0, "2": 29.0}}})
    {'encode–decode loops': {'mini': ([1.0, 2.0], [30.0, 29.0])}}
    """
    panels: dict[str, Panel] = {}
    for curve, (title, *_) in PANELS.items():
        having = {
            name: _points(curve, curves[curve])
            for name, curves in models.items()
            if curve in curves
        }
        if drawn := {name: points for name, points in having.items() if len(points[0]) > 1}:
            panels[title] = drawn
    return panels


def _points(curve: str, found: Any) -> tuple[list[float], list[float]]:
    """Return x and y of a curve, without points that are unknown."""
    if isinstance(found, Mapping):
        pairs = [(float(x), y) for x, y in found.items()]
    elif curve == "latent_profile":
        # Images of one color have no power, which logarithmic axes cannot show.
        pairs = [((k + 0.5) / len(found), y or None) for k, y in enumerate(found)]
    else:
        pairs = [(float(k + 1), y) for k, y in enumerate(found)]
    known = [(x, y) for x, y in pairs if y is not None and math.isfinite(y)]
    return [x for x, _ in known], [y for _, y in known]
