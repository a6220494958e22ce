"""Animations out: order, timing, faithfulness to the frames, and labelled sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from latentlab.errors import FileError, MissingExtraError, ShapeError, UsageError
from latentlab.figures.animation import bounce, shrink_frames, write_animation
from latentlab.figures.sheets import compose_sheet, lay_out_sheet
from latentlab.images.arrays import to_uint8
from latentlab.images.reading import read_frames
from latentlab.images.video import generate_palette

LOSSLESS = (".png", ".apng")
PILLOW = (".gif", ".webp", *LOSSLESS)


def photo_walk(count: int = 6) -> list[np.ndarray]:
    """Return a photo that moves and brightens slowly."""
    photo = data.coffee()[60:260, 120:420]
    return [
        np.clip(photo[i : i + 160, i : i + 240] * (0.9 + 0.03 * i), 0, 255).astype(np.uint8)
        for i in range(count)
    ]


def shades(count: int) -> list[np.ndarray]:
    return [np.full((20, 30, 3), 40 * index, np.uint8) for index in range(count)]


def read(path: Path) -> list[np.ndarray]:
    return [to_uint8(frame.pixels).numpy() for frame in read_frames(path)]


def delays(path: Path) -> list[int]:
    with Image.open(path) as animation:
        times = []
        for index in range(animation.n_frames):
            animation.seek(index)
            animation.load()
            times.append(animation.info["duration"])
    return times


# Order


@given(st.lists(st.integers(), max_size=9))
def test_bounce_comes_back_without_doubling_the_ends(items: list[int]) -> None:
    there_and_back = bounce(items)
    assert len(there_and_back) == (2 * len(items) - 2 if len(items) > 2 else len(items))
    assert there_and_back[: len(items)] == items
    assert there_and_back[1:] == there_and_back[1:][::-1] or len(items) < 3


@pytest.mark.parametrize("suffix", [*PILLOW, ".mp4"])
def test_frames_arrive_in_order_with_the_way_back(tmp_path: Path, suffix: str) -> None:
    path = write_animation(tmp_path / f"a{suffix}", shades(5))
    seen = [int(frame.mean().round()) for frame in read(path)]
    assert np.abs(np.array(seen) - [0, 40, 80, 120, 160, 120, 80, 40]).max() <= 2


def test_without_ping_pong_each_frame_is_shown_once(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.gif", iter(shades(5)), ping_pong=False)
    assert len(read(path)) == 5


@pytest.mark.parametrize("suffix", [*PILLOW, ".mp4"])
def test_a_single_frame_is_an_animation_too(tmp_path: Path, suffix: str) -> None:
    assert len(read(write_animation(tmp_path / f"a{suffix}", shades(1)))) == 1


# Faithfulness


@pytest.fixture(params=["ffmpeg", "median cut"])
def palette(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return whose 256 colors a GIF gets: ffmpeg's, or ours where no ffmpeg is installed."""
    if request.param == "median cut":
        monkeypatch.setattr("latentlab.figures.animation.generate_palette", lambda frames: None)
    return str(request.param)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_apng_keeps_every_pixel(tmp_path: Path, suffix: str) -> None:
    frames = photo_walk(3)
    path = write_animation(tmp_path / f"a{suffix}", frames, ping_pong=False)
    assert all(map(np.array_equal, read(path), frames))


@pytest.mark.parametrize(("suffix", "decibels"), [(".gif", 34), (".webp", 38), (".mp4", 36)])
def test_photos_stay_close(tmp_path: Path, suffix: str, decibels: float, palette: str) -> None:
    frames = photo_walk()
    seen = read(write_animation(tmp_path / f"a{suffix}", frames, ping_pong=False))
    for frame, shown in zip(frames, seen, strict=True):
        assert peak_signal_noise_ratio(frame, shown) >= decibels


def test_a_smooth_ramp_shows_no_bands_in_a_gif(tmp_path: Path, palette: str) -> None:
    ramp = np.linspace(60, 200, 256)[None, :, None].repeat(96, 0)
    ramp = np.rint(ramp * [0.6, 0.8, 1.0]).astype(np.uint8)
    photos = [np.concatenate([ramp, data.astronaut()[:160, 100:356]])] * 2
    shown = read(write_animation(tmp_path / "a.gif", photos))[0][:96].astype(float)
    # the mean of 8 columns, which is what the eye makes of a dither, follows the ramp
    smooth = shown.mean(0).reshape(-1, 8, 3).mean(1)
    expected = ramp[0].astype(float).reshape(-1, 8, 3).mean(1)
    assert np.abs(smooth - expected).max() <= 5


def test_still_parts_of_a_gif_stand_still(tmp_path: Path, palette: str) -> None:
    frames = [frame.copy() for frame in photo_walk()]
    for frame in frames:
        frame[:, :120] = frames[0][:, :120]
    seen = read(write_animation(tmp_path / "a.gif", frames))
    assert all(np.array_equal(frame[:, :120], seen[0][:, :120]) for frame in seen)


def test_white_paper_stays_plain_in_a_gif(tmp_path: Path, palette: str) -> None:
    frames = [np.pad(f, ((30, 30), (30, 30), (0, 0)), constant_values=255) for f in photo_walk(3)]
    border = read(write_animation(tmp_path / "a.gif", frames))[1][:30]
    assert border.min() == border.max() >= 250


def test_a_gif_has_the_colors_of_ffmpegs_palette_where_it_is_installed(tmp_path: Path) -> None:
    # Frames so small that all of their pixels are the sample.
    frames = [np.ascontiguousarray(frame[:60, :60]) for frame in photo_walk(3)]
    colors = np.frombuffer(generate_palette(frames) or b"", np.uint8).reshape(-1, 3)
    assert len(colors) == 256
    shown = read(write_animation(tmp_path / "a.gif", frames, ping_pong=False))
    used = {tuple(color) for frame in shown for color in frame.reshape(-1, 3)}
    assert used <= {tuple(color) for color in colors}


@pytest.mark.parametrize("program", ["false", "/no/such/program"])
def test_a_broken_ffmpeg_costs_no_gif(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr("latentlab.images.video.ffmpeg_program", lambda: program)
    frames = photo_walk(2)
    shown = read(write_animation(tmp_path / "a.gif", frames))
    assert peak_signal_noise_ratio(frames[0], shown[0]) >= 34


@pytest.mark.parametrize("suffix", [*PILLOW, ".mp4"])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first = write_animation(tmp_path / f"a{suffix}", photo_walk(3))
    second = write_animation(tmp_path / f"b{suffix}", photo_walk(3))
    assert first.read_bytes() == second.read_bytes()


def test_mp4_pads_odd_sides(tmp_path: Path) -> None:
    frames = [frame[:159, :239] for frame in photo_walk(2)]
    shown = read(write_animation(tmp_path / "a.mp4", frames))[0]
    assert shown.shape == (160, 240, 3)
    assert peak_signal_noise_ratio(frames[0], shown[:159, :239]) > 35


# Timing


@pytest.mark.parametrize("fps", [7, 12, 24, 30, 50])
@pytest.mark.parametrize("suffix", PILLOW)
def test_the_mean_rate_is_what_was_asked(tmp_path: Path, fps: float, suffix: str) -> None:
    path = write_animation(tmp_path / f"a{suffix}", shades(6), fps=fps, ping_pong=False)
    unit = 10 if suffix == ".gif" else 1
    assert abs(sum(delays(path)) - 6000 / fps) <= unit / 2 + 1e-6


@pytest.mark.parametrize(("suffix", "once"), [(".gif", None), (".webp", 1), (".png", 1)])
def test_loop_repeats_for_ever_or_plays_once(tmp_path: Path, suffix: str, once: int | None) -> None:
    for loop, expected in ((True, 0), (False, once)):
        path = write_animation(tmp_path / f"a{suffix}", shades(3), loop=loop)
        with Image.open(path) as animation:
            assert animation.info.get("loop") == expected


@pytest.mark.parametrize(
    ("suffix", "fps"), [(".gif", 51), (".gif", 0), (".webp", -1), (".png", np.nan), (".mp4", 1e9)]
)
def test_impossible_rates_are_refused(tmp_path: Path, suffix: str, fps: float) -> None:
    with pytest.raises(UsageError, match="--fps"):
        write_animation(tmp_path / f"a{suffix}", shades(2), fps=fps)


# Bad input


def test_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'\.avi'.*\.gif, \.webp, \.png, \.apng, \.mp4"):
        write_animation(tmp_path / "a.avi", shades(2))


def test_no_frames_and_unequal_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no frames"):
        write_animation(tmp_path / "a.gif", [])
    with pytest.raises(ShapeError, match="frame 1 of shape"):
        write_animation(tmp_path / "a.gif", [*shades(1), np.zeros((9, 9, 3), np.uint8)])
    with pytest.raises(ShapeError, match="float64"):
        write_animation(tmp_path / "a.gif", [np.zeros((9, 9, 3))])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_a_failed_encoder_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_animation(tmp_path / "a.mp4", shades(2))
    before = path.read_bytes()
    monkeypatch.setattr("latentlab.images.video.ffmpeg_program", lambda: "false")
    with pytest.raises(FileError, match="ffmpeg"):
        write_animation(path, shades(3))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_mp4_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"latentlab\[video\]"):
        write_animation(tmp_path / "a.mp4", shades(2))


def test_leaving_a_video_early_ends_ffmpeg(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.mp4", photo_walk())
    frames = read_frames(path, limit=1)
    assert next(frames).name == "a-0"
    assert list(frames) == []


# Sheets


def test_tiles_lie_where_the_sheet_says() -> None:
    tiles = [[np.full((100, 120, 3), 10 * r + c, np.uint8) for c in range(3)] for r in range(2)]
    sheet = lay_out_sheet((100, 120, 3), row_labels=["a", "b"], columns=3)
    drawn = sheet.draw(tiles)
    for r, top in enumerate(sheet.tops):
        for c, left in enumerate(sheet.lefts):
            assert (drawn[top : top + 100, left : left + 120] == 10 * r + c).all()
    assert (sheet.canvas[sheet.tops[0] :, sheet.lefts[0] :] == 255).all()


def test_compose_sheet_is_laying_out_and_drawing() -> None:
    tiles = [[np.full((100, 120, 3), 90, np.uint8)]]
    labels = {"row_labels": ["a"], "column_labels": ["b"], "title": "c"}
    sheet = lay_out_sheet((100, 120, 3), columns=1, **labels)
    assert np.array_equal(compose_sheet(tiles, **labels), sheet.draw(tiles))


def test_labels_leave_ink_in_their_own_places() -> None:
    blank = lay_out_sheet((100, 100), row_labels=["", ""], columns=2)
    rows = lay_out_sheet((100, 100), row_labels=["one", ""], columns=2)
    heads = lay_out_sheet((100, 100), row_labels=["", ""], columns=2, column_labels=["", "two"])
    titled = lay_out_sheet((100, 100), row_labels=["", ""], columns=2, title="three")
    assert (blank.canvas == 255).all()
    assert rows.canvas[rows.tops[0] : rows.tops[0] + 100, : rows.lefts[0]].min() < 100
    assert (rows.canvas[rows.tops[1] :] == 255).all()
    assert heads.canvas[: heads.tops[0], heads.lefts[1] :].min() < 100
    assert (heads.canvas[: heads.tops[0], : heads.lefts[1]] == 255).all()
    assert titled.canvas[: titled.tops[0]].min() < 100


@pytest.mark.parametrize("label", ["x" * 300, "many words " * 40, "σ ±3\nsecond\nthird\nfourth"])
def test_long_labels_stay_inside_their_column(label: str) -> None:
    sheet = lay_out_sheet(
        (100, 100), row_labels=[label], columns=1, column_labels=[label], title=label
    )
    assert (sheet.canvas[:, -8:] == 255).all()
    assert (sheet.canvas[sheet.tops[0] :, sheet.lefts[0] - 8 :] == 255).all()


def test_labels_of_flat_tiles_do_not_run_into_each_other() -> None:
    label = "PC 1\n16.9 % of variance\nrotation"
    one = lay_out_sheet((12, 400), row_labels=[label], columns=1)
    two = lay_out_sheet((12, 400), row_labels=[label, label], columns=1)
    row = one.canvas[one.tops[0] : -10]
    assert (row < 255).any((1, 2)).sum() > 24
    for top in two.tops:
        assert np.array_equal(two.canvas[top : top + len(row)], row)


@pytest.mark.parametrize(
    ("shape", "tile", "size"),
    [
        ((256, 256), 192, (192, 192)),
        ((256, 512), 128, (64, 128)),
        ((28, 28), None, (112, 112)),
        ((28, 28), 56, (56, 56)),
        ((120, 100), None, (120, 100)),
        ((120, 100), 300, (120, 100)),
    ],
)
def test_tile_sizes(shape: tuple[int, int], tile: int | None, size: tuple[int, int]) -> None:
    assert lay_out_sheet(shape, row_labels=["a"], columns=1, tile=tile).tile_size == size


def test_small_tiles_grow_by_whole_pixels() -> None:
    tile = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    sheet = lay_out_sheet((28, 28), row_labels=[""], columns=1)
    top, left = sheet.tops[0], sheet.lefts[0]
    drawn = sheet.draw([[tile]])[top : top + 112, left : left + 112]
    assert np.array_equal(drawn, tile.repeat(4, 0).repeat(4, 1))


def test_sheets_refuse_what_does_not_fit() -> None:
    tile = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(ShapeError, match="row labels"):
        compose_sheet([[tile]], row_labels=["a", "b"])
    with pytest.raises(ShapeError, match="column labels"):
        compose_sheet([[tile]], row_labels=["a"], column_labels=["b", "c"])
    with pytest.raises(ShapeError, match="float64"):
        compose_sheet([[tile.astype(float)]], row_labels=["a"])
    with pytest.raises(ShapeError, match="larger sheet"):
        lay_out_sheet((100, 100), row_labels=["a"], columns=1).draw([[tile, tile]])


def test_frames_are_shrunk_to_the_longest_side_and_never_enlarged() -> None:
    wide = [np.full((60, 100, 3), 77, np.uint8)] * 2
    assert [frame.shape for frame in shrink_frames(wide, 50)] == [(30, 50, 3)] * 2
    assert shrink_frames(wide, 50)[0].min() == shrink_frames(wide, 50)[0].max() == 77
    assert shrink_frames(wide, 100)[0] is wide[0]
    assert shrink_frames(wide, None)[0] is wide[0]
