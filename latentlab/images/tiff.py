"""What the tags of a TIFF say about its numbers, where Pillow leaves it to others."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

_BITS, _PHOTOMETRIC, _SAMPLES, _FORMAT = 258, 262, 277, 339
_KINDS = {1: "unsigned integer", 2: "signed integer", 3: "floating-point"}


def honor_tags(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return a decoded image of 16 or 32 bits as its tags mean it, and what was done.

    Numbers of tag 339 = 1 are unsigned, and black is the largest one where tag 262 is 0.

    Parameters
    ----------
    image : loaded; of other formats and modes it is returned as it is
    """
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None or image.mode not in ("I;16", "I;16B", "I;16L", "I", "F"):
        return image, []
    notes: list[str] = []
    values = np.asarray(image)
    if image.mode == "I" and _first(tags, _BITS, 1) == 32 and _first(tags, _FORMAT, 1) == 1:
        values = values.view(np.uint32)
    elif _first(tags, _PHOTOMETRIC, 1) != 0:
        return image, []
    if _first(tags, _PHOTOMETRIC, 1) == 0:
        values = _inverted(values)
        notes = ["white is zero, inverted"]
    kind = np.uint16 if values.dtype.itemsize == 2 else np.float32
    return Image.fromarray(values.astype(kind)), notes


def _inverted(values: Any) -> Any:
    if values.dtype.itemsize == 2:
        return 65535 - values.astype(np.uint16)
    exact = values.astype(np.float64)
    low, high = float(exact.min()), float(exact.max())
    return (1.0 if low >= 0 and high <= 1 else low + high) - exact


def _first(tags: Any, tag: int, default: int) -> int:
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def describe_samples(source: Any) -> str:
    """Return what the pixels of a TIFF are, as in "3 samples of 32-bit floating-point numbers".

    Parameters
    ----------
    source : Path or stream; "" for what is no TIFF
    """
    stream: Any = source if isinstance(source, io.IOBase) else source.open("rb")
    try:
        stream.seek(0)
        tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
        stream.seek(tags.next)
        tags.load(stream)
        kind = _KINDS.get(_first(tags, _FORMAT, 1), "other")
        bits, samples = _first(tags, _BITS, 1), _first(tags, _SAMPLES, 1)
        return f"{samples} sample{'s' * (samples != 1)} of {bits}-bit {kind} numbers"
    except Exception:  # noqa: BLE001 (a header of any damage is no description)
        return ""
    finally:
        if stream is source:
            stream.seek(0)
        else:
            stream.close()
