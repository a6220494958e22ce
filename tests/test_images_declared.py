"""What a file declares about its pixels is honored, and what it keeps beside them is not needed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from latentlab.errors import ImageError
from latentlab.images.framing import Framing, frame_levels
from latentlab.images.png import SIGNATURE, coding_of
from latentlab.images.reading import read_image

RAMP = np.tile(np.linspace(0, 65535, 64).round().astype(np.uint16), (8, 1))
DARK_TO_BRIGHT = np.round(RAMP[0] / 257)


def levels(path: Path) -> Any:
    """Return the first row of an image as 8-bit levels, (W, 3)."""
    pixels = read_image(path).pixels
    return ((pixels[:, 0] + 1) * 127.5).round().T.numpy()


# TIFF


def save_tiff(
    path: Path, values: Any, *, photometric: int = 1, bits: int = 16, kind: int = 1
) -> None:
    """Write an uncompressed TIFF with these tags, field by field."""
    samples = values.shape[2] if values.ndim == 3 else 1
    fields = {
        256: values.shape[1],
        257: values.shape[0],
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: samples,
        278: values.shape[0],
        279: values.nbytes,
        339: kind,
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    place = 8 + values.nbytes
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", place) + values.tobytes() + directory)


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        (RAMP, {}),
        (65535 - RAMP, {"photometric": 0}),
        (RAMP.astype(np.uint32) * 65537, {"bits": 32}),
        (RAMP.astype(np.int32), {"bits": 32, "kind": 2}),
        ((1 - RAMP / 65535).astype(np.float32), {"bits": 32, "kind": 3, "photometric": 0}),
    ],
)
def test_tags_of_a_tiff_say_what_its_numbers_mean(tmp_path: Path, values: Any, tags: Any) -> None:
    save_tiff(tmp_path / "a.tif", values, **tags)
    assert np.abs(levels(tmp_path / "a.tif")[:, 0] - DARK_TO_BRIGHT).max() <= 1
    inverted = "inverted" in read_image(tmp_path / "a.tif").preprocessing
    assert inverted == ("photometric" in tags)


def test_a_tiff_that_pillow_does_not_read_says_why(tmp_path: Path) -> None:
    save_tiff(tmp_path / "a.tif", np.zeros((8, 8, 3), np.float32), photometric=2, bits=32, kind=3)
    with pytest.raises(ImageError, match="3 samples of 32-bit floating-point numbers a pixel"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_the_turn_of_an_image_is_recorded(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (32, 16)).save(tmp_path / f"a.{suffix}", exif=exif)
    found = read_image(tmp_path / f"a.{suffix}")
    assert tuple(found.pixels.shape) == (3, 32, 16)
    assert "EXIF orientation applied" in found.preprocessing


def test_cielab_becomes_srgb(tmp_path: Path) -> None:
    gray = Image.new("LAB", (8, 8), (137, 128, 128))  # L = 53.6 of 100: sRGB 128
    gray.save(tmp_path / "a.tif")
    assert np.abs(levels(tmp_path / "a.tif")[0] - 128).max() <= 2


# PNG


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    sum_ = zlib.crc32(name + body) if crc is None else crc
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", sum_)


def save_png(path: Path, *chunks: bytes, last: bytes = b"") -> None:
    """Write the ramp as gray RGB with chunks after the header, and one before the end."""
    gray = np.repeat(DARK_TO_BRIGHT.astype(np.uint8)[None, :, None], 8, 0).repeat(3, 2)
    Image.fromarray(gray).save(path)
    content = path.read_bytes()
    end = len(content) - 12
    path.write_bytes(content[:33] + b"".join(chunks) + content[33:end] + last + content[end:])


def profile(padding: int) -> bytes:
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    srgb += bytes(padding)
    srgb[:4] = struct.pack(">I", len(srgb))
    return b"icc\0\0" + zlib.compress(bytes(srgb))


LONG = b"{}" * 800_000
BESIDE = {
    "zTXt": [chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LONG))],
    "iTXt": [chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LONG))],
    "tEXt": [chunk(b"tEXt", b"workflow\0" + LONG)],
    "many": [chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(LONG[:900_000])) for n in range(80)],
    "bad checksum": [chunk(b"tEXt", b"a\0b", crc=0)],
    "large profile": [chunk(b"iCCP", profile(1_500_000))],
}


@pytest.mark.parametrize("kind", BESIDE)
def test_a_png_is_read_whatever_stands_beside_its_pixels(tmp_path: Path, kind: str) -> None:
    save_png(tmp_path / "a.png", *BESIDE[kind])
    assert np.array_equal(levels(tmp_path / "a.png")[:, 0], DARK_TO_BRIGHT)
    assert read_image(tmp_path / "a.png").preprocessing == "unchanged"
    # Metrics frame images in their own way, and read the same files.
    content = (tmp_path / "a.png").read_bytes()
    framed = frame_levels(content, "a.png", Framing("none", "lanczos", 0))
    assert np.array_equal(framed[0], levels(tmp_path / "a.png"))


def test_text_after_the_pixels_is_left_out(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", last=BESIDE["zTXt"][0])
    assert np.array_equal(levels(tmp_path / "a.png")[:, 0], DARK_TO_BRIGHT)


def test_a_profile_that_unpacks_without_end_is_left_out_and_said(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(1 << 26))))
    assert read_image(tmp_path / "a.png").preprocessing == "unusable ICC profile ignored"


def test_gamma_is_honored(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", chunk(b"gAMA", struct.pack(">I", 100_000)))
    linear = DARK_TO_BRIGHT / 255
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(levels(tmp_path / "a.png")[:, 0] - 255 * curve).max() <= 1
    assert read_image(tmp_path / "a.png").preprocessing == "gamma 1 to sRGB"


def test_a_coding_that_is_not_honored_is_said(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", chunk(b"cICP", bytes([9, 18, 0, 1])))
    with pytest.warns(UserWarning, match=r"Rec\. 2020, HLG.* read as sRGB: convert the image"):
        found = read_image(tmp_path / "a.png")
    assert found.preprocessing == "cICP (Rec. 2020, HLG) read as sRGB"
    assert np.array_equal(levels_without_warning(tmp_path / "a.png"), DARK_TO_BRIGHT)
    save_png(tmp_path / "a.png", chunk(b"cICP", bytes([1, 13, 0, 1])))
    assert read_image(tmp_path / "a.png").preprocessing == "unchanged"
    # A file that ends in the middle of the chunk declares nothing.
    assert coding_of(io.BytesIO(SIGNATURE + struct.pack(">I", 4) + b"cICP\x09\x12")) is None


def levels_without_warning(path: Path) -> np.ndarray:
    with pytest.warns(UserWarning, match="cICP"):
        return levels(path)[:, 0]


# From linear sRGB, Display P3 and Rec. 2020 to XYZ under D65: CSS Color 4, section 17.
TO_XYZ = {
    1: [
        [506752 / 1228815, 87881 / 245763, 12673 / 70218],
        [87098 / 409605, 175762 / 245763, 12673 / 175545],
        [7918 / 409605, 87881 / 737289, 1001167 / 1053270],
    ],
    12: [
        [608311 / 1250200, 189793 / 714400, 198249 / 1000160],
        [35783 / 156275, 247089 / 357200, 198249 / 2500400],
        [0, 32229 / 714400, 5220557 / 5000800],
    ],
    9: [
        [63426534 / 99577255, 20160776 / 139408157, 47086771 / 278816314],
        [26158966 / 99577255, 472592308 / 697040785, 8267143 / 139408157],
        [0, 19567812 / 697040785, 295819943 / 278816314],
    ],
}
CURVES = {
    1: lambda v: np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45)),
    4: lambda v: v**2.2,
    8: lambda v: v,
    13: lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4),
    14: lambda v: np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45)),
}
COLORS = np.random.default_rng(0).integers(0, 256, (8, 64, 3), np.uint8)


def save_coded(path: Path, pixels: Any, coding: list[int], *more: bytes) -> None:
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    chunks = chunk(b"cICP", bytes(coding)) + b"".join(more)
    path.write_bytes(content[:33] + chunks + content[33:])


def in_srgb(values: Any, primaries: int, transfer: int) -> Any:
    """Return 8-bit sRGB, in closed form, of numbers (…, 3) within 0 and 1."""
    matrix = np.linalg.inv(TO_XYZ[1]) @ TO_XYZ[primaries]
    light = (CURVES[transfer](values) @ matrix.T).clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("coding", "said"),
    [
        ([12, 13, 0, 1], "Display P3, sRGB's curve"),
        ([9, 14, 0, 1], "Rec. 2020, Rec. 709's curve"),
        ([1, 1, 0, 1], "sRGB's primaries, Rec. 709's curve"),
        ([9, 8, 0, 1], "Rec. 2020, linear"),
        ([12, 4, 0, 1], "Display P3, gamma 2.2"),
        ([12, 13, 0, 0], "Display P3, sRGB's curve, narrow range"),
    ],
)
def test_coded_colors_become_srgb(tmp_path: Path, coding: list[int], said: str) -> None:
    save_coded(tmp_path / "a.png", COLORS, coding)
    found = read_image(tmp_path / "a.png")
    values = COLORS[0] / 255 if coding[3] else ((COLORS[0] - 16.0) / 219).clip(0, 1)
    assert np.abs(levels(tmp_path / "a.png") - in_srgb(values, *coding[:2])).max() <= 0.51
    assert found.preprocessing == f"cICP ({said}) to sRGB"


def test_codings_come_before_profiles_and_hold_for_gray_and_transparency(tmp_path: Path) -> None:
    curve = chunk(b"gAMA", struct.pack(">I", 100_000))
    save_coded(tmp_path / "a.png", COLORS, [1, 13, 0, 1], curve)
    assert np.array_equal(levels(tmp_path / "a.png"), COLORS[0])
    gray = COLORS[..., 0].copy()
    save_coded(tmp_path / "b.png", gray, [12, 8, 0, 1])
    expected = in_srgb(gray[0, :, None].repeat(3, 1) / 255, 1, 8)
    assert np.abs(levels(tmp_path / "b.png") - expected).max() <= 0.51
    seen = np.dstack([COLORS, np.full((8, 64), 254, np.uint8)])
    save_coded(tmp_path / "c.png", seen, [12, 13, 0, 1])
    found = read_image(tmp_path / "c.png")
    expected = in_srgb(COLORS[0] / 255, 12, 13)
    assert np.abs(levels(tmp_path / "c.png") - expected).max() <= 2  # over white
    assert found.rgba is not None
    assert np.abs((found.rgba[:3, 0].T.numpy() + 1) * 127.5 - expected).max() <= 0.51


P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"gAMA", struct.pack(">I", 45455))],
        [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", struct.pack(">8I", *SRGB))],
        [chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100_000))],
    ],
)
def test_what_says_srgb_changes_nothing(tmp_path: Path, chunks: list[bytes]) -> None:
    save_png(tmp_path / "a.png", *chunks)
    assert read_image(tmp_path / "a.png").preprocessing == "unchanged"


def test_primaries_are_honored(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    stated = chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"cHRM", struct.pack(">8I", *P3))
    (tmp_path / "a.png").write_bytes(content[:33] + stated + content[33:])
    # Display P3 (200, 100, 50) is sRGB (211.1, 95.5, 36.0), by the published matrix.
    matrix = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    values = np.array([200, 100, 50]) / 255
    linear = matrix @ ((values + 0.055) / 1.055) ** 2.4
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(levels(tmp_path / "a.png")[0] - expected).max() <= 1
