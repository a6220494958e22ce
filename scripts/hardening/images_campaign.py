"""Images of every kind that is read, still and moving, and what they declare."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from campaigns import Parser
from members import png_with_checksums
from PIL import Image, ImageCms, PngImagePlugin

from latentlab.images import pillow
from latentlab.images.reading import read_frames, read_image

_MOST = 1 << 20
"""Pixels that are read here: larger images are legitimate, and only slow."""


def _seeds(_: Path) -> Sequence[bytes]:
    color = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8), "RGB"
    ).resize((26, 18))
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = Image.fromarray(np.arange(234, dtype=np.uint16).reshape(18, 13) * 270)
    kept = [
        _saved(color, "PNG"),
        _saved(color.convert("RGBA"), "PNG", icc_profile=profile),
        _saved(color.convert("P"), "PNG", transparency=3),
        _saved(deep, "PNG"),
        _saved(color.convert("1"), "PNG"),
        _saved(color, "PNG", pnginfo=_declared()),
        _saved(color, "PNG", save_all=True, append_images=[color.rotate(90)]),
        _saved(color, "JPEG", exif=turned, icc_profile=profile),
        _saved(color.convert("CMYK"), "JPEG", progressive=True),
        _saved(color, "WEBP", exif=turned),
        _saved(color.convert("RGBA"), "WEBP", lossless=True),
        _saved(color, "WEBP", save_all=True, append_images=[color.rotate(90)]),
        _saved(color.convert("P"), "GIF", save_all=True, append_images=[color.convert("P")]),
        _saved(color, "TIFF", compression="tiff_lzw", exif=turned),
        _saved(color.convert("LAB"), "TIFF", compression="tiff_deflate"),
        _saved(color.convert("F"), "TIFF"),
        _saved(deep, "TIFF", save_all=True, append_images=[deep]),
        _saved(color, "BMP"),
        _saved(color, "PPM"),
        _saved(color, "TGA"),
        _saved(color, "ICO"),
        _saved(color, "JPEG2000"),
        _saved(color, "PCX"),
        _saved(color, "EPS"),
        _saved(color, "DDS"),
    ]
    return [b"I" + content for content in kept] + [b"F" + kept[6], b"F" + kept[11], b"F" + kept[16]]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def _declared() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    primaries = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    info.add(b"cHRM", b"".join(one.to_bytes(4, "big") for one in primaries))
    info.add(b"cICP", bytes((1, 13, 0, 1)))
    info.add_text("Comment", "a cat", zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x/>")
    return info


def _read(content: bytes, folder: Path) -> None:
    path = folder / "image"
    path.write_bytes(png_with_checksums(content[1:]))
    most, pillow.MAX_PIXELS = pillow.MAX_PIXELS, _MOST
    try:
        if content[:1] == b"F":
            for _ in islice(read_frames(path, size=16), 3):
                pass
        else:
            read_image(path, size=16)
    finally:
        pillow.MAX_PIXELS = most


CAMPAIGN = Parser(
    name="images",
    reads="images and animations: PNG, JPEG, WebP, GIF, TIFF, BMP, PPM, TGA, ICO, JPEG 2000, …",
    seeds=_seeds,
    read=_read,
    words=[
        *(b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"eXIf"),
        *(b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IEND", b"zTXt", b"iTXt", b"\xff\xd8\xff\xe1"),
        *(b"\xff\xc0", b"\xff\xda", b"\xff\xee\x00\x0eAdobe", b"Exif\x00\x00II*\x00", b"MM\x00*"),
        *(b"RIFF", b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"GIF89a", b"!\xff\x0bNETSCAPE2.0"),
        *(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"8BPS", b"DDS ", b"P6 9 9 255\n"),
    ],
    longest=6000,
)
