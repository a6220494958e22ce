"""Without --size an image is analyzed at a size that answers, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

import latentlab
from latentlab.encoding.encoder import read_for
from latentlab.errors import UsageError
from latentlab.images.fit import Fit, fit_of
from latentlab.images.image import Image
from latentlab.images.reading import read_image
from latentlab.recipes.comparing import encode_alike
from latentlab.store.manifest import read_manifest
from latentlab.testing.linear_vae import LinearVAE


def photo(path: Path, width: int, height: int) -> Path:
    """Write a photo whose left half is dark and whose right half is bright."""
    image = Pillow.new("RGB", (width, height), (40, 40, 40))
    image.paste((220, 220, 220), (width // 2, 0, width, height))
    image.save(path, quality=95)
    return path


@pytest.mark.parametrize(
    ("width", "height", "target"),
    [
        (4032, 3024, (384, 512)),  # a phone's photo
        (3024, 4032, (512, 384)),
        (20000, 5000, (128, 512)),  # a panorama of 100 megapixels
        (30000, 100, (8, 512)),  # too narrow: cropped
        (1000, 1000, (512, 512)),
        (512, 300, None),  # no larger than the limit: kept, and cropped to the grid
    ],
)
def test_the_longer_side_becomes_the_longest_and_the_shape_is_kept(
    width: int, height: int, target: tuple[int, int] | None
) -> None:
    assert Fit(8, longest=512).target(width, height) == target


@given(
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.sampled_from([1, 8, 16, 32, 64]),
    st.sampled_from([100, 512, 1024]),
)
def test_every_target_lies_on_the_grid_within_the_limit(
    width: int, height: int, multiple: int, longest: int
) -> None:
    target = Fit(multiple, longest=longest).target(width, height)
    if target is None:
        assert max(width, height) <= longest
        return
    assert all(side > 0 and side % multiple == 0 for side in target)
    assert max(target) == max(longest // multiple, 1) * multiple
    ideal = longest / max(width, height)
    for side, native in zip(target, (height, width), strict=True):
        assert abs(side - native * ideal) <= multiple


def test_a_photo_keeps_its_sides_left_and_right(tmp_path: Path) -> None:
    vae = LinearVAE()
    image = read_for(vae, photo(tmp_path / "a.jpg", 1200, 900), "auto")
    assert image.pixels.shape == (3, 288, 384)
    assert image.native == (1200, 900)
    assert "LANCZOS 384×288" in image.preprocessing
    assert image.pixels[..., :187].max() < -0.6 < 0.6 < image.pixels[..., 197:].min()


def test_native_and_small_images_keep_their_size(tmp_path: Path) -> None:
    vae = LinearVAE()
    large = photo(tmp_path / "a.png", 1200, 900)
    assert read_for(vae, large, "native").pixels.shape == (3, 900, 1200)
    assert read_for(vae, large).pixels.shape == (3, 900, 1200)
    small = photo(tmp_path / "b.png", 120, 90)
    assert torch.equal(read_for(vae, small, "auto").pixels, read_for(vae, small).pixels)


def test_tensors_are_shrunk_as_files_are(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", 1024, 512)
    file = read_image(path, size="auto", longest=512, multiple=4)
    tensor = read_image(read_image(path).pixels, size="auto", longest=512, multiple=4)
    assert float((file.pixels - tensor.pixels).abs().max()) < 0.02


@pytest.mark.parametrize("size", ["big", "512", 12.5])
def test_other_sizes_are_refused_with_what_can_be_passed(size: object) -> None:
    with pytest.raises(UsageError, match="native"):
        fit_of(size, 8, 512)  # type: ignore[arg-type]


def test_what_is_compared_gets_the_shape_of_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    paths = [photo(tmp_path / "a.png", 1024, 512), photo(tmp_path / "b.png", 300, 400)]
    first, second = encode_alike(LinearVAE(), paths, say=said.append)
    assert first.values.shape == second.values.shape
    ends = sorted((float(one.values.std()), name) for one, name in ((first, "a"), (second, "b")))
    scale = " to ".join(f"{value:.2g} ({name})" for value, name in ends)
    assert said == [
        "a: 1024×512 px, analyzed at 384×192 px; --size native keeps its size",
        f"2 images: standard deviation {scale} in model space",
        "b: 300×400 px, cropped and resized to 384×192 px, the size of a",
    ]
    native = encode_alike(LinearVAE(), paths, "native")
    assert native[0].values.shape != native[1].values.shape


def test_what_is_behind_transparency_and_which_frame_was_taken_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    window = Pillow.new("RGBA", (64, 48), (20, 90, 160, 128))
    window.save(tmp_path / "window.png")
    plain = photo(tmp_path / "plain.png", 64, 48)
    frames = [Pillow.new("RGB", (64, 48), (level, 0, 0)) for level in (0, 120, 240)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    encode_alike(
        LinearVAE(), [plain, tmp_path / "window.png", tmp_path / "moving.gif"], say=said.append
    )
    assert said[:2] == ["window: transparency over white", "moving: first of 3 frames"]
    assert not [line for line in said if line.startswith("plain")]


def test_the_command_says_it_once_and_native_says_nothing(cli: CommandLine, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", 640, 320)
    how = ["-m", "linear", "-k", "tokens", "--nulls", "none", "--json"]
    done = cli("pca", path, *how)
    line = "a: 640×320 px, analyzed at 384×192 px; --size native keeps its size"
    assert done.err.splitlines().count(line) == 1
    assert done.facts["n_samples"] == 48 * 24
    native = cli("pca", path, *how, "--size", "native")
    assert native.facts["n_samples"] == 80 * 40
    assert "native" not in native.err
    shaped = cli("pca", path, *how, "--size", "128x64")
    assert shaped.facts["n_samples"] == 16 * 8


def test_animations_are_at_most_512_px_unless_asked(cli: CommandLine, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", 640, 320)
    sampled = ["-m", "linear", "-k", "gaussian", "-n", "4", "--size", "native", "--nulls", "none"]
    assert cli("pca", path, *sampled, "--out", "run").code == 0
    walk = ["--run", "run", "--components", "1", "--steps", "2"]
    for size, width in (("512", 512), ("native", 640), ("64", 64)):
        out = tmp_path / size
        assert cli("traverse", *walk, "--frame-size", size, "--out", out).code == 0
        with Pillow.open(out / "component_1.gif") as frames:
            assert frames.size == (width, width // 2)


def test_a_folder_of_large_images_is_shrunk_and_a_store_keeps_its_own_size(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, (width, height) in enumerate([(800, 400), (300, 200), (800, 400)]):
        photo(photos / f"{index}.png", width, height)
    vae = LinearVAE()
    store, native = tmp_path / "store", tmp_path / "native"
    latentlab.encode_folder(vae, photos, store, workers=0)
    found = latentlab.open_store(store)
    assert {shape[1:]: count for shape, count in found.shapes.items()} == {
        (48, 96): 2,
        (50, 75): 1,
    }
    expected = latentlab.encode(vae, photos / "0.png", "auto").values
    line = next(found.images())
    assert line["shape"] == list(expected.shape)
    assert read_manifest(store).longest == 384
    latentlab.encode_folder(vae, photos, native, size="native", workers=0)
    assert set(latentlab.open_store(native).shapes) == {(6, 100, 200), (6, 50, 75)}
    # The same call resumes both, whatever this machine would choose.
    assert latentlab.encode_folder(vae, photos, native, workers=0).computed == 0
    assert latentlab.encode_folder(vae, photos, store, workers=0).computed == 0


def test_an_image_in_memory_is_not_touched_unless_it_is_too_large() -> None:
    pixels = torch.zeros(3, 384, 192)
    assert torch.equal(read_for(LinearVAE(), Image(pixels), "auto").pixels, pixels)
