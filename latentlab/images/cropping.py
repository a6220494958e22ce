"""Cropping and resizing images to a model's grid.

No torch here: worker processes that only decode images start without it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from latentlab.errors import ImageError, UsageError
from latentlab.images.pillow import MAX_PIXELS, decoding, load_upright, to_srgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

Target: TypeAlias = tuple[int, int] | None
"""Height and width to resize to, or None to keep the image's own."""


def target_of(size: int | tuple[int, int] | None, multiple: int) -> Target:
    """Return the (height, width) of a size, checked; None for no size."""
    if multiple < 1:
        raise UsageError(f"multiple={multiple}", "at least 1 pixel", "pass the model's multiple")
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    for side in (height, width):
        _check_side(side, multiple)
    return height, width


def _check_side(side: int, multiple: int) -> None:
    if not isinstance(side, int):
        raise UsageError(f"size={side!r}", "a whole number of pixels", "pass, say, size=256")
    if 0 < side <= MAX_PIXELS**0.5 and side % multiple == 0:
        return
    most = int(MAX_PIXELS**0.5) // multiple * multiple
    below = min(max(side // multiple * multiple, 0), most)
    near = [str(side) for side in (below, below + multiple) if 0 < side <= most]
    raise UsageError(
        f"--size {side}", f"a positive multiple of {multiple}", f"pass --size {' or '.join(near)}"
    )


def crop_box(width: int, height: int, target: Target, multiple: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the largest centered part of the target's shape.

    Without a target, of the largest part whose sides are multiples.
    """
    if target is not None:
        scale = min(height / target[0], width / target[1])
        across, down = max(1, round(target[1] * scale)), max(1, round(target[0] * scale))
    else:
        across, down = width // multiple * multiple, height // multiple * multiple
    if min(across, down) < 1:
        raise ImageError(
            f"an image of {width}×{height} pixels, which is too small",
            f"at least {multiple}×{multiple}",
            f"enlarge it with --size {max(multiple, -(-256 // multiple) * multiple)}",
        )
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def grid_notes(box: tuple[int, int, int, int], whole: tuple[int, int], target: Target) -> list[str]:
    """Return how an image of size ``whole`` was cropped and resized, in words."""
    across, down = box[2] - box[0], box[3] - box[1]
    notes = []
    if (across, down) != whole:
        notes.append(f"centre crop {across}×{down}")
    if target is not None and (down, across) != target:
        notes.append(f"LANCZOS {target[1]}×{target[0]}")
    return notes


def fit_image(image: Image.Image, target: Target, multiple: int) -> tuple[Image.Image, list[str]]:
    """Return an RGB image on the grid, and what was done to it."""
    upright, load_notes = load_upright(image)
    box = crop_box(*upright.size, target, multiple)
    rgb, color_notes = to_srgb(upright.crop(box))
    if target is not None:
        rgb = rgb.resize(target[::-1], Image.Resampling.LANCZOS)
    return rgb, load_notes + color_notes + grid_notes(box, upright.size, target)


def decode_levels(content: bytes, name: str, target: Target, multiple: int) -> NDArray[np.uint8]:
    """Return the levels (H, W, 3) of an image file's bytes, as ``read_image`` sees them.

    Parameters
    ----------
    content : bytes of the file
    name : str, for messages
    target, multiple : the grid, as for :func:`fit_image`

    Raises
    ------
    ImageError : empty, damaged, not an image, too large, or smaller than ``multiple``.
    MemoryLimitError : the image does not fit into memory.
    """
    if not content:
        raise ImageError(f"{name} with 0 bytes", "an image file", "copy or download it again")
    with decoding(name), Image.open(io.BytesIO(content)) as image:
        rgb, _ = fit_image(image, target, multiple)
    return np.array(rgb)
