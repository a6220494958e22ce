"""Units of what varies, and the smallest change that is visible."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """The unit in which changes are reported, and the smallest visible change.

    Parameters
    ----------
    unit : str, sign and what it is a part of, such as ``"% of white"``; empty where unknown
    visible : float, the smallest change for one step of a walk that counts, in this unit
    scale : float, what a change is multiplied by to be in this unit
    relative : bool, whether a change is divided by the mean first
    gain : bool, whether this is a factor that multiplies: its natural scale is the logarithm
    """

    unit: str = ""
    visible: float = 0.0
    scale: float = 1.0
    relative: bool = False
    gain: bool = False

    def write(self, effect: float) -> str:
        """Return a change in both directions as labels show it, with two significant digits.

        Examples
        --------
        >>> Amount("% of white").write(-12.4), Amount("°").write(0.512), Amount().write(3.0)
        ('±12 %', '±0.51°', '±3')
        """
        size = abs(effect)
        sign = self.unit.partition(" ")[0]
        number = f"{size:.0f}" if size >= 10 else f"{size:.2g}"
        return f"±{number}{'' if sign in ('', '°') else ' '}{sign}"
