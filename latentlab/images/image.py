"""Images that are ready to be encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.images.fit import Fit


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """An image that is ready to be encoded.

    Parameters
    ----------
    pixels : Tensor, (3, H, W), float32 in [−1, 1]
    name : str, the file's stem, for titles and folders
    sha256 : str, of the file's bytes, or of the pixels if there was no file
    preprocessing : str, how the pixels were made from the file
    native : (width, height) of the image before it was cropped and resized; None if unknown
    path : str, of the file, absolute, or a sample's name; empty if reading it with ``fit`` would
        give other pixels
    fit : Fit, how the file came onto the grid; None without a path
    rgba : Tensor, (4, H, W), float32 in [−1, 1], colors that are not multiplied by the opacity, and
        the opacity; None for an opaque image. ``pixels`` are these over white.
    """

    pixels: Tensor
    name: str = "image"
    sha256: str = ""
    preprocessing: str = ""
    native: tuple[int, int] | None = None
    path: str = ""
    fit: Fit | None = None
    rgba: Tensor | None = None

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.pixels.shape))
        return f"Image({self.name!r}, {shape} in [−1, 1], {self.preprocessing})"
