"""Images as people have them, sent to the explorer."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from latentlab.errors import ImageError
from latentlab.explorer.pictures import read_upload
from latentlab.images.arrays import to_uint8


def ramp(width: int, height: int) -> Pillow.Image:
    """Return an image whose corners differ."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Pillow.fromarray(np.stack([across, down, across[::-1]], -1).astype(np.uint8))


def file_of(image: Pillow.Image, kind: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photo_of_a_phone_is_upright(turn: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = turn
    content = file_of(ramp(48, 32), exif=exif)
    found = read_upload(content, "phone.png", longest=256, multiple=8)
    with Pillow.open(io.BytesIO(content)) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(to_uint8(found.pixels).numpy(), upright)
    assert found.name == "phone"
    assert ("EXIF orientation applied" in found.preprocessing) is (turn > 1)


def test_transparency_is_over_white_and_the_page_is_told() -> None:
    clear = ramp(32, 32).convert("RGBA")
    clear.putalpha(0)
    found = read_upload(file_of(clear), "logo.png", longest=256, multiple=8)
    assert found.pixels.min() == 1
    assert "transparency over white" in found.preprocessing


def test_a_panorama_keeps_its_shape_as_far_as_the_grid_allows() -> None:
    found = read_upload(file_of(ramp(3000, 160)), "view.png", longest=256, multiple=8)
    assert found.pixels.shape == (3, 16, 256)
    assert found.native == (3000, 160)
    assert "center crop" in found.preprocessing


@pytest.mark.parametrize("size", [(1, 1), (500, 1), (7, 300)])
def test_an_image_of_less_than_a_cell_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=r"dot, an image of .* pixels.*8 pixels a side.*larger"):
        read_upload(file_of(ramp(*size)), "dot.png", longest=256, multiple=8)
    enlarged = read_upload(file_of(ramp(*size)), "dot.png", longest=256, multiple=8, size=16)
    assert enlarged.pixels.shape == (3, 16, 16)
