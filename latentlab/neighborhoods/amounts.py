"""Units of factors, and the smallest visible change of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """The unit in which changes are reported, and the smallest visible change.

    Parameters
    ----------
    unit : str, symbol and reference, such as ``"% of white"``; empty if unknown
    visible : float, the smallest change for one step of a walk that is visible, in this unit
    scale : float, by which a change is multiplied to be in this unit
    relative : bool, whether a change is first divided by the mean
    gain : bool, whether the factor multiplies, so that its natural scale is logarithmic
    words : str, what sentences and pages call the factor; empty if its name is a plain word
    """

    unit: str = ""
    visible: float = 0.0
    scale: float = 1.0
    relative: bool = False
    gain: bool = False
    words: str = ""

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
