"""Images in: every trap of real files, against Pillow, NumPy and hand-made files."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import sys
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from latentlab.errors import (
    FileError,
    ImageError,
    MissingExtraError,
    ShapeError,
    UsageError,
    ValueRangeWarning,
)
from latentlab.images.arrays import from_uint8, to_uint8
from latentlab.images.checking import list_images
from latentlab.images.fit import MAX_PIXELS
from latentlab.images.image import Image
from latentlab.images.reading import read_frames, read_image, save_png
from latentlab.machine.files import replace_when_done, sha256_of_file

PHOTO = (
    np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
)


def levels(image: Image) -> np.ndarray:
    return to_uint8(image.pixels).numpy()


def save(image: Pillow.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def png(path: Path, rows: np.ndarray, *, depth: int, color: int, extra: bytes = b"") -> Path:
    """Write a PNG by hand, for the depths that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width = rows.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )
    return path


# The conversion


def test_all_256_levels_survive_the_way_to_tensors_and_back() -> None:
    image = torch.arange(256, dtype=torch.uint8).view(16, 16, 1).expand(-1, -1, 3)
    assert torch.equal(to_uint8(from_uint8(image)), image)
    assert from_uint8(image).min() == -1
    assert from_uint8(image).max() == 1


@given(hnp.arrays(np.float32, (3, 2, 3), elements=st.floats(-3, 3, width=32)))
def test_to_uint8_clamps_and_rounds_to_nearest(values: np.ndarray) -> None:
    exact = (np.clip(values.astype(np.float64), -1, 1) + 1) * 127.5
    result = to_uint8(torch.from_numpy(values)).numpy().transpose(2, 0, 1)
    assert np.abs(result - exact).max() <= 0.5 + 1e-4


def test_batches_keep_their_leading_axes() -> None:
    assert to_uint8(torch.zeros(2, 5, 3, 4, 6)).shape == (2, 5, 4, 6, 3)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_png_round_trip_is_exact(tmp_path: Path, array: np.ndarray) -> None:
    path = save_png(tmp_path / "a.png", array)
    assert np.array_equal(levels(read_image(path)), array)


def test_save_png_refuses_floats(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="float64"):
        save_png(tmp_path / "a.png", np.zeros((4, 4, 3)))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# The grid


def test_size_crops_the_centered_square_and_resizes_as_pillow_does(tmp_path: Path) -> None:
    path = save(Pillow.fromarray(PHOTO), tmp_path / "a.png")
    oracle = Pillow.open(path).convert("RGB").crop((8, 0, 56, 48)).resize((32, 32), 1)
    image = read_image(path, size=32, multiple=8)
    assert np.array_equal(levels(image), np.asarray(oracle))
    assert image.preprocessing == "center crop 48×48; LANCZOS 32×32"
    assert image.name == "a"
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_without_size_the_center_is_cropped_to_multiples(tmp_path: Path) -> None:
    path = save(Pillow.fromarray(PHOTO), tmp_path / "a.png")
    assert np.array_equal(levels(read_image(path, multiple=20)), PHOTO[4:44, 2:62])


def test_one_pixel_fills_any_size(tmp_path: Path) -> None:
    path = save(Pillow.new("RGB", (1, 1), (255, 0, 128)), tmp_path / "a.png")
    result = levels(read_image(path, size=64, multiple=16))
    assert result.shape == (64, 64, 3)
    assert np.array_equal(np.unique(result.reshape(-1, 3), axis=0), [[255, 0, 128]])


def test_too_small_names_the_smallest_size_and_the_option(tmp_path: Path) -> None:
    path = save(Pillow.new("RGB", (15, 90)), tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"15×90.*16×16.*--size 256"):
        read_image(path, multiple=16)


@pytest.mark.parametrize(
    ("size", "advice"), [(100, "96 or 112"), (0, "16"), (-5, "16"), (7, "16"), (10**6, "133")]
)
def test_a_bad_size_names_good_ones(size: int, advice: str) -> None:
    with pytest.raises(UsageError, match=rf"multiple of 16\. Pass --size {advice}"):
        read_image(PHOTO, size=size, multiple=16)


# Depth


def test_16_bit_grey_is_divided_by_257(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64)
    image = read_image(save(Pillow.fromarray(grey), tmp_path / "a.png"))
    assert np.abs(levels(image)[..., 0] - grey / 257).max() <= 0.5 + 1e-6
    assert "16 to 8 bit" in image.preprocessing


@pytest.mark.parametrize(("color", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_16_bit_color_keeps_its_range(tmp_path: Path, color: int, channels: int) -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (16, 16, channels), dtype=np.uint16)
    if channels != 3:
        deep[..., -1] = 65535
    image = read_image(png(tmp_path / "a.png", deep, depth=16, color=color))
    expected = deep[..., :3] if channels > 2 else deep[..., :1]
    assert np.abs(levels(image) - expected / 257).max() <= 1
    assert "16 to 8 bit" in image.preprocessing


def test_16_bit_portable_greymap_that_is_dark_stays_dark(tmp_path: Path) -> None:
    body = np.full((8, 8), 200, ">u2").tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 65535\n" + body)
    assert levels(read_image(tmp_path / "a.pgm")).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32), np.linspace(0, 255, 64)),
        (np.linspace(0, 200, 64, dtype=np.float32), np.linspace(0, 200, 64)),
        (np.linspace(0, 60000, 64, dtype=np.float32), np.linspace(0, 60000, 64) / 257),
        (np.linspace(-5, 5, 64, dtype=np.float32), np.linspace(0, 255, 64)),
        (np.arange(64, dtype=np.int32) * 4, np.arange(64) * 4),
    ],
)
def test_32_bit_grey_is_read_by_its_range(
    tmp_path: Path, values: np.ndarray, expected: np.ndarray
) -> None:
    image = read_image(save(Pillow.fromarray(values.reshape(8, 8)), tmp_path / "a.tiff"))
    assert np.abs(levels(image)[..., 0].ravel() - expected).max() <= 0.51
    assert "range" in image.preprocessing


def test_nan_pixels_are_refused(tmp_path: Path) -> None:
    path = save(Pillow.fromarray(np.full((8, 8), np.nan, np.float32)), tmp_path / "a.tiff")
    with pytest.raises(ImageError, match="NaN"):
        read_image(path)


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    bits = np.indices((8, 8)).sum(0) % 2 == 0
    image = read_image(save(Pillow.fromarray(bits), tmp_path / "a.png"))
    assert np.array_equal(levels(image)[..., 1], bits * 255)


# Transparency and palettes


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str, suffix: str) -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 256, (16, 16, len(mode)), dtype=np.uint8)
    path = save(Pillow.fromarray(values, mode=None), tmp_path / f"a.{suffix}")
    color, alpha = values[..., :-1].astype(float), values[..., -1:] / 255
    image = read_image(path)
    assert np.abs(levels(image) - (color * alpha + 255 * (1 - alpha))).max() <= 1
    assert "transparency over white" in image.preprocessing


@pytest.mark.parametrize("mode", ["RGBa", "La"])
def test_premultiplied_alpha_lies_over_white(mode: str) -> None:
    straight = Pillow.new(mode.upper(), (8, 8), (10,) * (len(mode) - 1) + (128,))
    expected = read_image(straight)
    assert np.abs(levels(read_image(straight.convert(mode))) - levels(expected)).max() <= 1


def test_an_opaque_alpha_channel_is_not_mentioned(tmp_path: Path) -> None:
    path = save(Pillow.fromarray(PHOTO).convert("RGBA"), tmp_path / "a.png")
    assert read_image(path).preprocessing == "unchanged"


def test_palette_colors_and_palette_transparency(tmp_path: Path) -> None:
    image = Pillow.new("P", (2, 1))
    image.putpalette([200, 10, 20, 0, 0, 0])
    image.putdata([0, 1])
    opaque = read_image(save(image, tmp_path / "a.png"))
    holes = read_image(save(image, tmp_path / "b.png", transparency=1))
    assert levels(opaque).tolist() == [[[200, 10, 20], [0, 0, 0]]]
    assert levels(holes).tolist() == [[[200, 10, 20], [255, 255, 255]]]


def test_transparent_color_key_of_16_bit_color(tmp_path: Path) -> None:
    body = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)
    key = struct.pack(">I", 6) + b"tRNS" + body + struct.pack(">I", zlib.crc32(b"tRNS" + body))
    rows = np.full((8, 8, 3), 0x4040, np.uint16)
    image = read_image(png(tmp_path / "a.png", rows, depth=16, color=2, extra=key))
    assert np.abs(levels(image).astype(int) - 0x40).max() <= 1


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_exif_orientation_as_pillow_applies_it(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = save(Pillow.fromarray(PHOTO), tmp_path / f"a.{suffix}", exif=exif)
    with Pillow.open(path) as image:
        oracle = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    loaded = read_image(path)
    assert np.array_equal(levels(loaded), oracle)
    assert ("EXIF" in loaded.preprocessing) == (orientation != 1)


def test_broken_exif_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = save(Pillow.fromarray(PHOTO), tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff")
    assert read_image(path).pixels.shape == (3, 48, 64)


# Color


def icc(space: bytes, tags: dict[bytes, bytes], *, pcs: bytes = b"XYZ ") -> bytes:
    """Return a minimal version 2 profile."""
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        body += b"\0" * (-len(body) % 4)
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body
    size = start + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02100000, b"mntr", space, pcs)
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp").ljust(68 - 24, b"\0")
    header += struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


GAMMA = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
# The sRGB primaries, adapted to D50.
RED, GREEN, BLUE = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.7141),
)


def matrix_profile(
    red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...]
) -> bytes:
    tags = {
        b"rXYZ": xyz(*red),
        b"gXYZ": xyz(*green),
        b"bXYZ": xyz(*blue),
        b"wtpt": xyz(0.9642, 1, 0.8249),
    }
    return icc(b"RGB ", tags | {b"rTRC": GAMMA, b"gTRC": GAMMA, b"bTRC": GAMMA})


def test_a_profile_with_swapped_primaries_swaps_the_channels(tmp_path: Path) -> None:
    bright = np.clip(PHOTO, 40, 255)
    profile = matrix_profile(BLUE, GREEN, RED)
    image = read_image(save(Pillow.fromarray(bright), tmp_path / "a.png", icc_profile=profile))
    # gamma 2.2 differs from sRGB's curve by a few levels
    assert np.abs(levels(image).astype(int) - bright[..., ::-1]).max() <= 6
    assert "ICC to sRGB" in image.preprocessing


def test_an_srgb_profile_leaves_every_pixel_alone(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = read_image(save(Pillow.fromarray(PHOTO), tmp_path / "a.png", icc_profile=profile))
    assert np.array_equal(levels(image), PHOTO)
    assert image.preprocessing == "unchanged"


@pytest.mark.parametrize("profile", [b"nonsense", icc(b"GRAY", {b"wtpt": xyz(1, 1, 1)})])
def test_a_bad_profile_is_ignored_and_noted(tmp_path: Path, profile: bytes) -> None:
    image = read_image(save(Pillow.fromarray(PHOTO), tmp_path / "a.png", icc_profile=profile))
    assert np.array_equal(levels(image), PHOTO)
    assert "ICC profile ignored" in image.preprocessing


def test_a_profile_works_on_palette_and_alpha_images(tmp_path: Path) -> None:
    profile = matrix_profile(BLUE, GREEN, RED)
    clear = Pillow.new("RGBA", (8, 8), (255, 0, 0, 255))
    clear.putpixel((0, 0), (255, 0, 0, 0))
    result = levels(read_image(save(clear, tmp_path / "a.png", icc_profile=profile)))
    assert np.abs(result[4, 4].astype(int) - [0, 0, 255]).max() <= 2
    assert result[0, 0].tolist() == [255, 255, 255]
    flat = Pillow.new("P", (8, 8))
    flat.putpalette([255, 0, 0])
    result = levels(read_image(save(flat, tmp_path / "b.png", icc_profile=profile)))
    assert np.abs(result[4, 4].astype(int) - [0, 0, 255]).max() <= 2


def black_only_profile() -> bytes:
    """Return a CMYK profile in which only black (K) counts: L* = 100·(1 − K)."""
    identity = bytes(range(256))
    cube = b"".join(bytes([255 * (1 - (i & 1)), 128, 128]) for i in range(16))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += identity * 4 + cube + identity * 3
    return icc(b"CMYK", {b"A2B0": table, b"wtpt": xyz(0.9642, 1, 0.8249)}, pcs=b"Lab ")


def test_an_embedded_cmyk_profile_decides(tmp_path: Path) -> None:
    inks = Pillow.new("CMYK", (8, 8), (200, 30, 90, 0))
    path = save(inks, tmp_path / "a.tiff", icc_profile=black_only_profile())
    image = read_image(path)
    assert levels(image).min() >= 250
    assert "ICC to sRGB" in image.preprocessing


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk_without_a_profile(tmp_path: Path, suffix: str) -> None:
    cyan = Pillow.new("CMYK", (16, 16), (255, 0, 0, 0))
    image = read_image(save(cyan, tmp_path / f"a.{suffix}"))
    assert np.abs(levels(image).astype(int) - [0, 255, 255]).max() <= 3
    assert "CMYK" in image.preprocessing


# Bad files


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: path.write_text("hello"), "no image"),
    ],
)
def test_each_bad_file_has_its_own_line(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "a.png")  # type: ignore[operator]
    with pytest.raises(ImageError, match=message) as caught:
        read_image(tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif"])
def test_a_truncated_file_is_called_incomplete(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(Pillow.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"breaks off or is damaged|no image"):
        read_image(path)


def seeds() -> list[bytes]:
    files = []
    for kind, options in [
        ("PNG", {}),
        ("JPEG", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("BMP", {}),
    ]:
        file = io.BytesIO()
        Pillow.fromarray(PHOTO[:24, :24]).save(file, kind, **options)
        files.append(file.getvalue())
    return files


SEEDS = seeds()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_is_an_image_or_one_clear_error(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    # What is left may begin as JPEG XL does: with two bytes, FF 0A.
    with suppress(ImageError, MissingExtraError):
        assert read_image(tmp_path / "a", size=16).pixels.shape == (3, 16, 16)


def bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


@pytest.mark.parametrize(("width", "height"), [(30_000, 20_000), (14_000, 12_750)])
def test_huge_images_are_refused_by_their_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.bmp").write_bytes(bmp_header(width, height))
    with pytest.raises(
        ImageError, match=r"pixels, but expected at most 178 million pixels\. Shrink it first"
    ):
        read_image(tmp_path / "a.bmp", size=256)


def test_a_large_image_within_the_limit_gives_no_warning(tmp_path: Path) -> None:
    path = save(Pillow.new("1", (10_000, 9_500)), tmp_path / "a.png")
    assert Pillow.MAX_IMAGE_PIXELS is not None
    assert Pillow.MAX_IMAGE_PIXELS < 95_000_000 < MAX_PIXELS
    assert read_image(path, size=16).pixels.shape == (3, 16, 16)


# Arrays, tensors, PIL images


def test_all_sources_agree(tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :64]
    smooth = np.stack([2 * x + y, 255 - 3 * y, 60 + x], -1).astype(np.uint8)
    path = save(Pillow.fromarray(smooth), tmp_path / "a.png")
    tensor = from_uint8(torch.from_numpy(smooth))
    unit = (smooth / 255).astype(np.float32)
    sources = [
        *(str(path), read_image(path), Pillow.fromarray(smooth)),
        *(smooth, unit, tensor, torch.from_numpy(smooth).movedim(-1, 0)),
    ]
    expected = read_image(path, size=32).pixels
    for source in sources:
        assert (read_image(source, size=32).pixels - expected).abs().max() <= 1.01 / 127.5


def test_a_float_tensor_on_the_grid_is_returned_to_the_last_bit() -> None:
    tensor = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    image = read_image(tensor, multiple=8)
    assert torch.equal(image.pixels, tensor)
    assert image.sha256 == hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def test_an_image_keeps_its_name_and_hash() -> None:
    first = Image(torch.zeros(3, 40, 50), "cat", "abc", "EXIF orientation applied")
    again = read_image(first, multiple=16)
    assert (again.name, again.sha256) == ("cat", "abc")
    assert again.preprocessing == "EXIF orientation applied; center crop 48×32"


def test_grey_arrays_become_three_equal_channels() -> None:
    for grey in (PHOTO[..., 0], PHOTO[..., :1], PHOTO[..., 0].astype(np.uint16) * 257):
        assert np.array_equal(levels(read_image(grey)), PHOTO[..., :1].repeat(3, 2))


@pytest.mark.parametrize(
    "source",
    [
        np.full((8, 8, 3), 200.0),
        np.full((8, 8, 3), np.nan),
        torch.full((3, 8, 8), 1.5),
        np.zeros((8, 8, 3), np.int64),
        42,
    ],
)
def test_values_out_of_range_and_foreign_types_are_refused(source: object) -> None:
    with pytest.raises(UsageError, match="expected"):
        read_image(source)  # type: ignore[arg-type]


def unit_tensor() -> torch.Tensor:
    return torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("scale", "value_range"), [(1, (0, 1)), (255, (0, 255)), (2, (0, 2)), (1, (0.0, 1.0))]
)
@pytest.mark.parametrize("kind", ["tensor", "array", "half"])
def test_a_value_range_says_what_is_black_and_what_is_white(
    kind: str, scale: float, value_range: tuple[float, float]
) -> None:
    unit = unit_tensor()
    values = unit * scale
    source: object = values.movedim(0, -1).numpy() if kind == "array" else values
    if kind == "half":
        source = values.half()
    image = read_image(source, value_range=value_range)  # type: ignore[arg-type]
    expected = np.interp(values.numpy(), value_range, (-1, 1))
    np.testing.assert_allclose(image.pixels, expected, atol=2e-3 if kind == "half" else 1e-6)
    assert image.preprocessing.startswith(f"values from 0 to {value_range[1]:g}")


def test_a_tensor_that_looks_like_unit_range_is_said_once_and_recorded() -> None:
    with pytest.warns(ValueRangeWarning, match=r"value_range=\(0, 1\)") as caught:
        image = read_image(unit_tensor())
    assert len(caught) == 1
    assert torch.equal(image.pixels, unit_tensor())
    assert image.preprocessing == "values from -1 to 1 assumed"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for gain in (0.5, 0.7, 0.9):
            read_image(unit_tensor() * gain)
    assert len(said) == 1
    confirmed = read_image(unit_tensor(), value_range=(-1, 1))
    assert torch.equal(confirmed.pixels, unit_tensor())
    for clear in (unit_tensor() - 0.5, torch.ones(3, 8, 8), (unit_tensor() * 255).byte()):
        read_image(clear)


def test_integers_need_a_range_and_arrays_may_have_another() -> None:
    counts = np.arange(192).reshape(8, 8, 3)
    image = read_image(counts, value_range=(0, 255))
    np.testing.assert_allclose(image.pixels.movedim(0, -1), counts / 127.5 - 1, atol=1e-6)
    symmetric = unit_tensor().numpy().transpose(1, 2, 0) * 2 - 1
    pixels = read_image(symmetric, value_range=(-1, 1)).pixels
    assert np.array_equal(pixels.movedim(0, -1), symmetric)


@pytest.mark.parametrize(
    ("source", "value_range", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), (0, 1), "leave value_range out"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), (0, 1), "leave value_range out"),
        ("sample:flower", (0, 255), "leave value_range out"),
        (torch.zeros(3, 8, 8), (1, 0), "value_range=(0, 1)"),
        (torch.zeros(3, 8, 8), (0, float("inf")), "value_range=(0, 1)"),
        (torch.zeros(3, 8, 8), (0, 1, 2), "value_range=(0, 1)"),
        (torch.zeros(3, 8, 8), "unit", "value_range=(0, 1)"),
        (torch.full((3, 8, 8), 200.0), None, "value_range=(0, 255)"),
        (np.full((8, 8, 3), -0.5), None, "from 0 to 1"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(
    source: object, value_range: object, message: str
) -> None:
    with pytest.raises(UsageError, match="(?i)" + re.escape(message)):
        read_image(source, value_range=value_range)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((3, 8, 8), np.uint8),
        torch.zeros(1, 3, 8, 8),
        torch.zeros(8, 8, 3),
        np.zeros((0, 8, 3)),
    ],
)
def test_wrong_shapes_are_refused(source: object) -> None:
    with pytest.raises(ShapeError, match="without a batch"):
        read_image(source)  # type: ignore[arg-type]


# Frames and folders


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_frames_come_one_by_one_and_the_first_is_the_image(tmp_path: Path, suffix: str) -> None:
    shades = [Pillow.new("RGB", (40, 30), (shade,) * 3) for shade in (0, 60, 120, 250)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(
        shades[0], tmp_path / f"a.{suffix}", save_all=True, append_images=shades[1:], **options
    )
    frames = list(read_frames(path, size=16))
    assert [levels(frame)[0, 0, 0] for frame in frames] == [0, 60, 120, 250]
    assert [frame.name for frame in frames] == ["a-0", "a-1", "a-2", "a-3"]
    assert len(list(read_frames(path, limit=2))) == 2
    first = read_image(path, size=16)
    assert torch.equal(first.pixels, frames[0].pixels)
    assert "first of 4 frames" in first.preprocessing


def test_a_still_image_has_one_frame(tmp_path: Path) -> None:
    path = save(Pillow.fromarray(PHOTO), tmp_path / "a.jpg")
    (frame,) = read_frames(path)
    assert torch.equal(frame.pixels, read_image(path).pixels)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("hello")
    with pytest.raises(ImageError, match=r"a\.mp4") as caught:
        list(read_frames(tmp_path / "a.mp4"))
    assert "\n" not in str(caught.value)


def test_video_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_text("hello")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"pip install 'latentlab\[video\]'"):
        read_frames(tmp_path / "a.mp4")


def test_folders_list_their_images_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "._a.png", "c.webp"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.webp"]
    with pytest.raises(ImageError, match="no folder"):
        list_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="without an image"):
        list_images(tmp_path / "empty")


# Files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with replace_when_done(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_keeps_folder_and_suffix(tmp_path: Path) -> None:
    with replace_when_done(tmp_path / "new" / "a.gif") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.suffix == ".gif"
        temporary.write_bytes(b"x")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.gif"]


def test_unwritable_targets_and_full_disks_are_file_errors(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(FileError, match="cannot be written"),
        replace_when_done(tmp_path / "file" / "a"),
    ):
        pass
    with pytest.raises(FileError, match="No space left"), replace_when_done(tmp_path / "a"):
        raise OSError(28, "No space left on device")


def test_other_errors_pass_through_a_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replace_when_done(tmp_path / "a"):
        (tmp_path / "elsewhere" / "input").read_bytes()


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "a").startswith("ba7816bf")


@pytest.mark.shared
def test_a_real_photo_agrees_with_pillow(shared: Path) -> None:
    path = shared / "data" / "photos" / "n01443537_goldfish.jpg"
    with Pillow.open(path) as image:
        side = min(image.size)
        oracle = ImageOps.fit(image.convert("RGB"), (side, side)).resize((256, 256), 1)
    assert np.abs(levels(read_image(path, size=256)).astype(int) - np.asarray(oracle)).max() <= 1
