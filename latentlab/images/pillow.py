"""Pillow images as upright, opaque, 8-bit sRGB, and Pillow's errors as clear messages."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from latentlab.errors import ImageError, MemoryLimitError
from latentlab.images.declared import (
    coded_colors,
    declared_colors,
    describe_coding,
    is_convertible,
)
from latentlab.images.fit import MAX_PIXELS
from latentlab.images.tiff import honor_tags

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OVER_WHITE = "transparency over white"
"""What is done to a transparent image."""
_EXIF_ORIENTATION = 0x0112

# Errors that Pillow's decoders raise on damaged data, depending on the format.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError),
    *(RuntimeError, struct.error, zlib.error),
)


@contextmanager
def decoding(path: Path | str) -> Iterator[None]:
    """Turn Pillow's errors into clear messages, and silence its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except Image.DecompressionBombError as error:
        raise _too_large(f"{path} with too many pixels") from error
    except MemoryError as error:
        raise MemoryLimitError(
            f"{path}, too large for the free memory",
            "an image that fits",
            "shrink it first",
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}, which is no image that Pillow can read",
            "PNG, JPEG, WebP, TIFF or the like",
            "copy it again if it breaks off, or convert it to PNG",
        ) from error
    except PermissionError as error:
        raise ImageError(
            f"{path}, which may not be read", "a readable file", "change its permissions"
        ) from error
    except _DAMAGE as error:
        raise ImageError(
            f"{path}, which breaks off or is damaged ({error})",
            "a complete image",
            "copy or download it again",
        ) from error


def _too_large(what: str) -> ImageError:
    return ImageError(what, f"at most {MAX_PIXELS // 1_000_000} million pixels", "shrink it first")


def check_pixels(image: Image.Image) -> None:
    """Raise ImageError for more than ``MAX_PIXELS`` by the header; nothing is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(f"an image of {image.width}×{image.height} pixels")


def load_upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return the decoded image, upright by its EXIF orientation, and what was done to it.

    Raises
    ------
    ImageError : more than ``MAX_PIXELS`` by its header; nothing is decoded.
    """
    check_pixels(image)
    # Pillow keeps the high byte of 16-bit color and drops the mode once the data are loaded.
    deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))
    notes = ["16 to 8 bit"] if deep else []
    turned = _orientation(image)
    image.load()
    # Pillow turns a TIFF while it loads it.
    done = turned in _TURNS and _orientation(image) == 1
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        image = image.convert("I;16")
    turn = _TURNS.get(_orientation(image))
    image, meant = honor_tags(image)
    notes += meant
    if turn is None:
        return image, [*notes, "EXIF orientation applied"] if done else notes
    return image.transpose(turn), [*notes, "EXIF orientation applied"]


def to_srgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return any decoded image as opaque 8-bit sRGB (over white), and what was done to it."""
    profile, coding = image.info.get("icc_profile"), image.info.get("cicp")
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image, notes = _to_8bit(image)
    else:
        notes = []
    if coding and not is_convertible(coding):
        unread, coding = f"{describe_coding(coding)} read as sRGB", None
        warnings.warn(f"{unread}: convert the image to sRGB first", stacklevel=2)
        notes.append(unread)
    color, alpha = _split_alpha(image)
    rgb, color_notes = _convert_color(color, profile, coding)
    notes += color_notes
    if alpha is not None and alpha.getextrema() != (255, 255):
        white = Image.new("RGB", rgb.size, (255, 255, 255))
        white.paste(rgb, mask=alpha)
        return white, [*notes, OVER_WHITE]
    return rgb, notes


def to_rgba(image: Image.Image) -> Image.Image | None:
    """Return any decoded image as 8-bit sRGB with its opacity; None if it is opaque."""
    profile, coding = image.info.get("icc_profile"), image.info.get("cicp")
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return None
    color, alpha = _split_alpha(image)
    if alpha is None or alpha.getextrema() == (255, 255):
        return None
    known = coding if coding and is_convertible(coding) else None
    rgb, _ = _convert_color(color, profile, known)
    rgba = rgb.convert("RGBA")
    rgba.putalpha(alpha)
    return rgba


def _to_8bit(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Return 16- or 32-bit gray as L: scaled by the range of its type, or else of its values."""
    grey = np.asarray(image, np.float64)
    if not np.isfinite(grey).all():
        raise ImageError("an image with NaN or infinite pixels", "finite pixels", "repair it")
    low, high = float(grey.min()), float(grey.max())
    if image.mode.startswith("I;16"):
        low, high, note = 0.0, 65535.0, ""
    elif image.mode == "F" and low >= 0 and high <= 1:
        low, high, note = 0.0, 1.0, "range 0 to 1"
    elif low >= 0 and high <= 65535:
        high = 255.0 if high <= 255 else 65535.0
        low, note = 0.0, f"range 0 to {high:.0f}"
    else:
        note = f"range {low:g} to {high:g}"
    levels = (grey - low) * (255 / ((high - low) or 1))
    return Image.fromarray((levels + 0.5).astype(np.uint8)), [note] if note else []


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the 8-bit color channels and the opacity (L); None if all is opaque."""
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.mode not in ("LA", "RGBA") and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "PA", "RGBA"):
        color = "L" if image.mode == "LA" else "RGB"
        return image.convert(color), image.getchannel("A")
    if image.mode in ("1", "P"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image, None


def _convert_color(
    image: Image.Image, profile: bytes | None, coding: bytes | None
) -> tuple[Image.Image, list[str]]:
    """Return sRGB by the cICP chunk, which comes first, else by the embedded profile.

    By Pillow's formula if both are missing or unusable.
    """
    if coding:
        return coded_colors(image, coding)
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        moved = ImageCms.profileToProfile(
            image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        return moved or image, ["CIELab to sRGB"]
    if not profile:
        declared = declared_colors(image)
        if declared is not None:
            return declared[0].convert("RGB"), [f"{declared[1]} to sRGB"]
        plain = ["CMYK without a profile"] if image.mode == "CMYK" else []
        return image.convert("RGB"), plain
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            image.mode,
            "RGB",
        )
        if image.mode == "RGB" and _is_identity(transform):
            return image, []
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB"), ["unusable ICC profile ignored"]
    return converted or image, ["ICC to sRGB"]


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a transform changes colors only by rounding, so that the profile is sRGB."""
    ramp = Image.linear_gradient("L")
    probe = Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180)))
    moved = ImageCms.applyTransform(probe, transform) or probe
    difference = np.asarray(probe, np.int16) - np.asarray(moved, np.int16)
    return int(np.abs(difference).max()) <= 2


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _DAMAGE:  # an image with broken EXIF is still an image
        return 1
