"""One image of a source as 8-bit levels and a hash, or the reason why it cannot be read.

Worker processes run this module, so it does not import torch.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentlab.errors import ImageError, LatentlabError
from latentlab.images.cropping import Target, decode_levels, target_of
from latentlab.store.sources import Source

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Grid:
    """The size to which images are cropped and resized.

    Parameters
    ----------
    target : (height, width) in pixels, or None to keep the size of each image
    multiple : int, of which sides are multiples
    """

    target: Target
    multiple: int

    @classmethod
    def of(cls, size: int | None, multiple: int) -> Grid:
        """Return the grid for a size in pixels; UsageError if it is no multiple of ``multiple``."""
        return cls(target_of(size, multiple), multiple)

    @property
    def preprocessing(self) -> str:
        """Return in words what is done to an image."""
        if self.target is None:
            fit = f"centre crop to multiples of {self.multiple} pixels"
        else:
            height, width = self.target
            fit = f"centre crop to a square, LANCZOS {width}×{height}"
        return f"upright, opaque 8-bit sRGB; {fit}"


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image that can be encoded, or the reason why it cannot.

    Parameters
    ----------
    path : str, its name in the source
    levels : array (H, W, 3), uint8, or None
    size : int, bytes of the file
    sha256 : str, of the same bytes
    problem : str, why there are no levels
    retry : bool, whether another try may succeed, as for a file that was missing
    """

    path: str
    levels: NDArray[np.uint8] | None = None
    size: int = 0
    sha256: str = ""
    problem: str = ""
    retry: bool = False


def prepare(source: Source, path: str, grid: Grid) -> Prepared:
    """Return one image of a source on the grid; an image that cannot be read is no error."""
    try:
        content = source.read(path)
    except OSError as error:
        return Prepared(path, problem=f"cannot be read ({error.strerror})", retry=True)
    except LatentlabError as error:
        return Prepared(path, problem=error.got, retry=True)
    try:
        levels = decode_levels(content, path, grid.target, grid.multiple)
    except LatentlabError as error:
        # The same damage gives the same line, wherever Pillow's objects are in memory.
        reason = _ADDRESS.sub("", error.got)
        return Prepared(path, problem=reason, retry=not isinstance(error, ImageError))
    return Prepared(path, levels, len(content), hashlib.sha256(content).hexdigest())
