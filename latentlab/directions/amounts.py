"""Units of the image statistics, and the smallest visible change of each.

A rank correlation says how regularly something changes, not how much. In an image of pure grain,
the center of light may move by a thousandth of the width and still follow a direction perfectly.
The amounts are conventions: round numbers near the smallest difference that an attentive eye sees
between two images side by side. See docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from latentlab.neighborhoods.amounts import Amount

STATISTICS: Mapping[str, Amount] = {
    "brightness": Amount("% of white", 0.5, 100),
    "contrast": Amount("% of white", 1, 100),
    "saturation": Amount("% of white", 1, 100),
    "hue": Amount("°", 5),
    "sharpness": Amount("% of its own", 10, 100, relative=True),
    "x position": Amount("% of the width", 0.5, 100),
    "y position": Amount("% of the height", 0.5, 100),
}
"""Statistic → Amount, see :mod:`latentlab.metrics.image_statistics`."""
