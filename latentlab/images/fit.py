"""The size and shape that images get on a model's grid.

No Pillow here: every command imports this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from latentlab.errors import UsageError

MAX_PIXELS = 178_000_000
"""Largest image that is read, in pixels; just below Pillow's own limit."""

AUTO = "auto"
NATIVE = "native"
Size: TypeAlias = int | tuple[int, int] | str
"""Side of a square, (height, width), ``"native"`` or ``"auto"``."""
Target: TypeAlias = tuple[int, int] | None
"""Height and width to resize to, or None to keep the image's own."""


@dataclass(frozen=True)
class Fit:
    """How images of any size come onto a model's grid.

    Parameters
    ----------
    multiple : int, sides are multiples of this many pixels
    shape : (height, width) that every image is cropped and resized to; None keeps its own shape
    longest : int, without ``shape``: larger images are shrunk until no side is longer than this;
        None keeps their size
    """

    multiple: int
    shape: Target = None
    longest: int | None = None

    def target(self, width: int, height: int) -> Target:
        """Return the (height, width) for an image of this size; None to keep its own.

        Examples
        --------
        >>> Fit(8, longest=512).target(4032, 3024)
        (384, 512)
        """
        if self.shape or self.longest is None or max(width, height) <= self.longest:
            return self.shape
        scale = max(self.longest, self.multiple) / max(width, height)
        # The shorter side of a narrow panorama may need a whole multiple.
        down, across = (
            max(1, round(side * scale / self.multiple)) * self.multiple for side in (height, width)
        )
        most = max(self.longest // self.multiple, 1) * self.multiple
        return min(down, most), min(across, most)


def fit_of(size: Size | None, multiple: int, longest: int | None = None) -> Fit:
    """Return the fit for a size, checked.

    Parameters
    ----------
    size : int for a square, (height, width), ``"native"`` or None for the image's own size, or
        ``"auto"`` for its own size up to ``longest``
    multiple : int, sides are multiples of this many pixels
    longest : int, longest side for ``"auto"``

    Raises
    ------
    UsageError : a size that is no positive multiple of ``multiple``, or another word.
    """
    if multiple < 1:
        raise UsageError(f"multiple={multiple}", "at least 1 pixel", "pass the model's multiple")
    if size is None or size == NATIVE:
        return Fit(multiple)
    if size == AUTO:
        return Fit(multiple, longest=longest)
    height, width = size if isinstance(size, tuple) else (size, size)
    for side in (height, width):
        _check_side(side, multiple)
    return Fit(multiple, (height, width))  # type: ignore[arg-type]  # checked to be numbers


def _check_side(side: object, multiple: int) -> None:
    if not isinstance(side, int):
        raise UsageError(
            f"size={side!r}", "a whole number of pixels, native or auto", "pass, say, size=256"
        )
    if 0 < side <= MAX_PIXELS**0.5 and side % multiple == 0:
        return
    most = int(MAX_PIXELS**0.5) // multiple * multiple
    below = min(max(side // multiple * multiple, 0), most)
    near = [str(side) for side in (below, below + multiple) if 0 < side <= most]
    raise UsageError(
        f"--size {side}", f"a positive multiple of {multiple}", f"pass --size {' or '.join(near)}"
    )
