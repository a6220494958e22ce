"""Ticks of logarithmic axes with plain numbers, also where they span less than a decade."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator

_FEWEST = 3
_MOST = 7
_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7))


def label_plainly(axis: Axis, *, whole: bool = False) -> None:
    """Give a logarithmic axis at least two or three ticks with readable numbers.

    Parameters
    ----------
    axis : Axis, of logarithmic scale
    whole : bool, whether only whole numbers make sense, as for counts
    """
    axis.set_major_locator(PlainLogLocator(whole=whole))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


class PlainLogLocator(Locator):
    """Ticks at 1, 10, 100 …; at 1, 2, 5 or closer where that gives fewer than three."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole

    def __call__(self) -> Any:
        """Return the ticks of the range that is shown."""
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Return the ticks within a range of positive numbers."""
        low, high = sorted((vmin, vmax))
        if not 0 < low < high:
            return np.array([])
        if self.whole and high - low < _MOST:
            return np.arange(math.ceil(low), math.floor(high) + 1.0)
        choices = [_decades(low, high, steps) for steps in _STEPS]
        nice = MaxNLocator(5, integer=self.whole, steps=[1, 2, 5, 10])
        close = np.asarray(nice.tick_values(low, high))
        choices.append(close[(close >= low) & (close <= high)])
        if self.whole:
            choices = [ticks[ticks == np.rint(ticks)] for ticks in choices]
        enough = (ticks for ticks in choices if len(ticks) >= _FEWEST)
        ticks = next(enough, max(choices, key=len))
        return ticks[:: -(-len(ticks) // _MOST)]


def _decades(low: float, high: float, steps: tuple[int, ...]) -> Any:
    """Return the steps of all decades that lie within a range."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = np.array([float(f"{step}e{exponent}") for exponent in exponents for step in steps])
    return ticks[(ticks >= low) & (ticks <= high)]


def plain_number(value: float) -> str:
    r"""Return a number as it is said: 0.02, 3,000, and powers of ten beyond.

    Examples
    --------
    >>> [plain_number(value) for value in (0.002, 0.5, 7, 2000, 3e-7, 1e9)]
    ['0.002', '0.5', '7', '2,000', '$3\\times10^{-7}$', '$10^{9}$']
    """
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.10g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    factor = "" if float(mantissa) == 1 else rf"{float(mantissa):g}\times"
    return f"${factor}10^{{{int(exponent)}}}$"
