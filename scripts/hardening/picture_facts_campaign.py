"""Images whose declarations contradict their pixels or each other; Pillow is the oracle."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from campaigns import Drawn
from judging import HOLDS, judge_reading
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from latentlab.images.arrays import to_uint8
from latentlab.images.reading import read_frames, read_image

Case = Callable[[random.Random, Path], str]
_SRGB = ImageCms.createProfile("sRGB")


def _pixels(draw: random.Random, mode: str = "RGB") -> Image.Image:
    shape = (draw.randrange(3, 12), draw.randrange(3, 12), len(Image.new(mode, (1, 1)).getbands()))
    levels = np.random.default_rng(draw.randrange(2**32)).integers(0, 256, shape, np.uint8)
    return Image.fromarray(levels.squeeze(-1) if shape[2] == 1 else levels, mode)


def _levels(path: Path) -> Any:
    return to_uint8(read_image(path).pixels).numpy()


def _is(image: Image.Image, tolerance: int = 0) -> Callable[[Any], bool]:
    """Return whether what was read is an image, in RGB, to a tolerance in levels."""
    expected = np.asarray(image.convert("RGB"), np.int16)

    def agrees(found: Any) -> bool:
        levels = to_uint8(found.pixels).numpy().astype(np.int16)
        return levels.shape == expected.shape and bool(abs(levels - expected).max() <= tolerance)

    return agrees


def _saved(path: Path, image: Image.Image, kind: str, **options: Any) -> Path:
    image.save(path, kind, **options)
    return path


def _orientation(draw: random.Random, folder: Path) -> str:
    """EXIF says an orientation, and sizes that are not those of the pixels."""
    image, turn = _pixels(draw), draw.choice((*range(10), 255, 65535))
    exif = Image.Exif()
    exif[0x0112] = turn
    if draw.random() < 0.5:
        exif.get_ifd(0x8769).update({0xA002: draw.randrange(99), 0xA003: draw.randrange(99)})
    kind = draw.choice(("PNG", "TIFF", "WEBP"))
    how = {"lossless": True} if kind == "WEBP" else {}
    path = _saved(folder / "a.png", image, kind, exif=exif, **how)
    with Image.open(path) as opened:
        expected = ImageOps.exif_transpose(opened)
    return judge_reading(
        "orientation", partial(read_image, path), _is(expected), details=f"{turn} {kind}"
    )


def _profile(draw: random.Random, folder: Path) -> str:
    """The profile is of another color space than the pixels, or is damaged."""
    mode = draw.choice(("RGB", "L", "RGBA", "LA", "P"))
    image = _pixels(draw, "RGB" if mode == "P" else mode)
    image = image.quantize(8) if mode == "P" else image
    kind = draw.choice(("LAB", "XYZ", "cut", "zeros", "sRGB"))
    whole = ImageCms.ImageCmsProfile(
        ImageCms.createProfile(kind) if kind in ("LAB", "XYZ", "sRGB") else _SRGB
    ).tobytes()
    content = {"cut": whole[: draw.randrange(len(whole))], "zeros": bytes(200)}.get(kind, whole)
    path = _saved(folder / "a.png", image, "PNG", icc_profile=content)
    plain = image.convert("RGB") if mode not in ("RGBA", "LA") else _over_white(image)
    return judge_reading(
        "profile against pixels",
        partial(read_image, path),
        _is(plain, 1),
        notes=lambda found: "ICC" in found.preprocessing,
        details=f"{mode} {kind} {draw.random()}",
    )


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)


def _chunks(draw: random.Random, folder: Path) -> str:
    """gAMA, cHRM, sRGB and sBIT that contradict each other: sRGB wins over gAMA and cHRM."""
    image, info = _pixels(draw), PngImagePlugin.PngInfo()
    info.add(b"sRGB", bytes((draw.randrange(4),)))
    if draw.random() < 0.7:
        info.add(b"gAMA", draw.choice((0, 1, 45455, 100000, 2**31)).to_bytes(4, "big"))
    if draw.random() < 0.7:
        numbers = [draw.choice((0, 31270, 32900, 64000, 100000)) for _ in range(8)]
        info.add(b"cHRM", b"".join(one.to_bytes(4, "big") for one in numbers))
    if draw.random() < 0.5:
        info.add(b"sBIT", bytes(draw.randrange(1, 9) for _ in range(3)))
    path = _saved(folder / "a.png", image, "PNG", pnginfo=info)
    return judge_reading("sRGB against gAMA and cHRM", partial(read_image, path), _is(image))


def _name(draw: random.Random, folder: Path) -> str:
    """The name is that of another format than the content."""
    image = _pixels(draw)
    kind = draw.choice(("PNG", "TIFF", "BMP", "PPM", "WEBP", "GIF"))
    how = {"lossless": True} if kind == "WEBP" else {}
    suffix = draw.choice((".jpg", ".png", ".gif", ".tif", ".webp", ".heic", ".psd", "", ".txt"))
    path = _saved(folder / f"a{suffix}", image, kind, **how)
    with Image.open(path) as opened:
        expected = opened.convert("RGB")
    return judge_reading(
        "name against content", partial(read_image, path), _is(expected), details=f"{kind}{suffix}"
    )


def _transparency(draw: random.Random, folder: Path) -> str:
    """TRNS beside opacity, of a color or palette entry that is not there."""
    mode = draw.choice(("RGB", "L", "P"))
    image = _pixels(draw, "RGB" if mode == "P" else mode)
    image = image.quantize(draw.choice((2, 8, 200))) if mode == "P" else image
    value: Any = {
        "RGB": tuple(draw.randrange(256) for _ in range(3)),
        "L": draw.randrange(256),
        "P": bytes(draw.randrange(256) for _ in range(draw.randrange(1, 256))),
    }[mode]
    try:
        path = _saved(folder / "a.png", image, "PNG", transparency=value)
    except (ValueError, OSError):
        return "not written"
    with Image.open(path) as opened:
        expected = _over_white(opened)
    return judge_reading(
        "tRNS against pixels", partial(read_image, path), _is(expected, 1), details=mode
    )


def _frames(draw: random.Random, folder: Path) -> str:
    """AcTL declares another number of frames than there are; every frame that is read is right."""
    first = _pixels(draw)
    others = [first.rotate(90 * k).resize(first.size) for k in range(1, draw.randrange(2, 5))]
    content = io.BytesIO()
    first.save(content, "PNG", save_all=True, append_images=others)
    raw = bytearray(content.getvalue())
    at = raw.index(b"acTL")
    raw[at + 4 : at + 8] = draw.choice((0, 1, 2, 3, 9, 2**31)).to_bytes(4, "big")
    raw[at + 12 : at + 16] = zlib.crc32(raw[at : at + 12]).to_bytes(4, "big")
    (folder / "a.png").write_bytes(raw)
    expected = [np.asarray(one) for one in (first, *others)]

    def agrees(found: Any) -> bool:
        levels = [to_uint8(one.pixels).numpy() for one in found]
        pairs = zip(levels, expected, strict=False)
        return 0 < len(levels) <= len(expected) and all(np.array_equal(*pair) for pair in pairs)

    return judge_reading(
        "acTL against frames", lambda: [*read_frames(folder / "a.png", limit=9)], agrees
    )


def _depth(draw: random.Random, folder: Path) -> str:
    """16-bit gray, saved by formats that declare its range differently."""
    levels = np.random.default_rng(draw.randrange(2**32)).integers(0, 65536, (5, 7))
    image = Image.fromarray(levels.astype(np.uint16))
    kind = draw.choice(("PNG", "TIFF", "PPM"))
    path = _saved(folder / "a.tif", image, kind)
    gray = np.floor(levels / 257 + 0.5).astype(np.uint8)
    return judge_reading(
        "depth", partial(read_image, path), _is(Image.fromarray(gray), 1), details=kind
    )


CASES: tuple[Case, ...] = (
    *(_orientation, _profile, _chunks, _name, _transparency, _frames, _depth),
)


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[int], str]]:
    def draw(seed: int) -> str:
        for path in folder.iterdir():
            path.unlink()
        return CASES[seed % len(CASES)](random.Random(seed), folder)

    yield draw


CAMPAIGN = Drawn(
    name="picture_facts",
    reads="EXIF against size, profile against pixels, chunks, names, transparency, frames, depth",
    holds=HOLDS,
    wanted=100_000,
    opened=_opened,
    unit="images",
    quick=70,
)
