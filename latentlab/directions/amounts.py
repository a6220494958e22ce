"""How much of a change is seen: a unit and a just visible amount for all that labels speak of.

A rank correlation says how regularly something changes, not how much: of pure grain, the center
of light may move by a thousandth of the width and follow a direction perfectly. The amounts below
are conventions of ours, in round numbers near what an attentive eye tells apart in two pictures
side by side: a brightness of 0.5 % is a little more than one step of 8 bits, a position of 0.5 %
a little more than one pixel of 256. Random directions with steps as long as those of a first
principal component stayed below them on `mini` and on TAEF2 (at most 0.34 % of white in
brightness, 0.27 % of the width, 2.1° of hue, at 128 px).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """The unit that changes of one thing are told in, and what is just visible.

    Parameters
    ----------
    unit : str, sign and what it is a part of, such as ``"% of white"``; empty where unknown
    visible : float, the smallest change for one step of a walk that counts, in this unit
    scale : float, what a change is multiplied by to be in this unit
    relative : bool, whether a change is divided by the mean first
    """

    unit: str = ""
    visible: float = 0.0
    scale: float = 1.0
    relative: bool = False

    def write(self, effect: float) -> str:
        """Return a change both ways as labels show it, with two significant digits.

        Examples
        --------
        >>> Amount("% of white").write(-12.4), Amount("°").write(0.512), Amount().write(3.0)
        ('±12 %', '±0.51°', '±3')
        """
        size = abs(effect)
        sign = self.unit.partition(" ")[0]
        number = f"{size:.0f}" if size >= 10 else f"{size:.2g}"
        return f"±{number}{'' if sign in ('', '°') else ' '}{sign}"


STATISTICS: Mapping[str, Amount] = {
    "brightness": Amount("% of white", 0.5, 100),
    "contrast": Amount("% of white", 1, 100),
    "saturation": Amount("% of white", 1, 100),
    "hue": Amount("°", 5),
    "sharpness": Amount("% of its own", 10, 100, relative=True),
    "x position": Amount("% of the width", 0.5, 100),
    "y position": Amount("% of the height", 0.5, 100),
}
"""Of what a picture shows, see :mod:`latentlab.metrics.picture_statistics`."""

FACTORS: Mapping[str, Amount] = {
    "shift_x": Amount("% of the width", 0.1, 100),
    "shift_y": Amount("% of the height", 0.1, 100),
    "x": Amount("% of the width", 0.5, 100),
    "y": Amount("% of the height", 0.5, 100),
    "rotation": Amount("°", 0.2),
    "hue": Amount("°", 2),
    "blur": Amount("px", 0.1),
    **dict.fromkeys(("zoom", "scale"), Amount("% of its own", 0.5, 100)),
    **dict.fromkeys(("brightness", "contrast", "saturation"), Amount("% of its own", 2, 100)),
}
"""Of what neighborhoods vary on purpose; gains (``GAINS``) change as their logarithms do."""


def amount_of_factor(name: str) -> Amount:
    """Return the amount of a factor; that of no unit, in which all is visible, for unknown ones."""
    return FACTORS.get(name, Amount())
