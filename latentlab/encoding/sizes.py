"""The size at which an image is analyzed where nobody asked for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.images.fit import AUTO

if TYPE_CHECKING:
    from latentlab.images.image import Image
    from latentlab.loaders.base import LatentVAE

LONGEST_ON_CPU = 384
LONGEST_ON_GPU = 1024


def longest_side(vae: LatentVAE) -> int:
    """Return the longest side, in pixels, to which larger images are shrunk by default.

    On two CPU cores, 256 samples of the model `mini` took 70 s at 512×384 px: too long for a first
    look at a photo.
    """
    if vae.only_side:
        return vae.only_side
    return LONGEST_ON_CPU if vae.device.type == "cpu" else LONGEST_ON_GPU


def describe_shrinking(image: Image, size: object) -> str:
    """Return a line that says to what an image was shrunk by default; "" where it was not."""
    height, width = image.pixels.shape[-2:]
    if size != AUTO or image.native is None or max(image.native) <= max(height, width):
        return ""
    had = "×".join(map(str, image.native))
    return f"{image.name}: {had} px, analyzed at {width}×{height} px; --size native keeps its size"
