"""Figures as PNG, PDF and SVG; several curves on one axis; ticks, sheets and fonts."""

from __future__ import annotations

import io
import re
import time
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from command_line import SIZE, Called, CommandLine, save_image
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image
from test_figures_fit import check, points_of, spectra

import latentlab
from latentlab.components.fitting import fit_pca
from latentlab.components.pca import PCA
from latentlab.errors import UsageError
from latentlab.figures import fonts, lettering
from latentlab.figures.canvas import draw_pixels, figure_bytes, new_figure
from latentlab.figures.log_axes import PlainLogLocator
from latentlab.figures.sheets import lay_out_sheet, thin
from latentlab.figures.transfer import transfer_sheet
from latentlab.figures.walks import WalkFrames, walk_sheet
from latentlab.latents import Latent
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.testing.linear_vae import LinearVAE

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def pca(linear_vae: LinearVAE, linear_latent: Latent) -> PCA:
    return fit_pca(neighborhood(linear_vae, linear_latent, "augment", n_samples=20))


def named(pca: PCA, name: str) -> PCA:
    """Return the same PCA of an image with another name."""
    assert pca.origin
    return replace(pca, sampling=replace(pca.sampling, origin=replace(pca.origin, name=name)))


# Files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_a_format_has_the_same_bytes_every_time(pca: PCA, format: str, start: bytes) -> None:
    def drawn() -> bytes:
        figure = new_figure()
        pca.plot(figure.add_subplot())
        return figure_bytes(figure, format)

    first = drawn()
    assert first.startswith(start)
    time.sleep(1.1)  # dates in files count seconds
    assert drawn() == first


def test_text_in_an_svg_is_text(pca: PCA) -> None:
    figure = new_figure()
    named(pca, "a$_b$.jpg").plot(figure.add_subplot())
    root = ElementTree.fromstring(figure_bytes(figure, "svg"))
    texts = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert "cumulative share of variance" in texts
    assert "a$_b$.jpg" in texts


def test_a_pdf_embeds_outlines_and_no_date(pca: PCA) -> None:
    figure = new_figure()
    pca.plot(figure.add_subplot())
    content = figure_bytes(figure, "pdf")
    assert b"/FontFile2" in content  # TrueType; type 3 fonts are refused by some publishers
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


@pytest.mark.parametrize("format", ["pdf", "svg"])
def test_vector_figures_hold_pixels_as_they_are(format: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    figure = new_figure(3, 3)
    draw_pixels(figure.add_subplot(), pixels, "")
    content = figure_bytes(figure, format)
    if format == "svg":
        (image,) = ElementTree.fromstring(content).iter(f"{SVG}image")
        encoded = image.get("{http://www.w3.org/1999/xlink}href", "").partition(",")[2]
        import base64

        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
        assert any(np.array_equal(turned, pixels) for turned in (found, found[::-1]))
    else:
        assert re.search(rb"/Width 7\b", content)
        assert re.search(rb"/Height 5\b", content)
        assert b"/Interpolate true" not in content
        streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
        assert any(len(unpacked(stream)) >= 5 * 7 for stream in streams)


def unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_saving_in_another_format_leaves_no_old_figure(pca: PCA, tmp_path: Path) -> None:
    latentlab.save(pca, tmp_path)
    assert (tmp_path / "eigenvalues.png").is_file()
    paths = latentlab.save(pca, tmp_path, figure_format="pdf")
    names = {path.name for path in paths}
    assert {"cumulative_variance.pdf", "eigenvalues.pdf"} < names
    assert {path.name for path in tmp_path.iterdir()} == names
    latentlab.save(pca, tmp_path, figure_format="svg")
    assert not [*tmp_path.glob("*.pdf")]


def test_an_unknown_format_is_refused_before_anything_is_written(pca: PCA, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="png, pdf, svg"):
        latentlab.save(pca, tmp_path / "new", figure_format="eps")
    assert not [*tmp_path.rglob("*.*")]


def test_a_walk_takes_the_option_and_keeps_its_sheet(
    linear_vae: LinearVAE, linear_latent: Latent, pca: PCA, tmp_path: Path
) -> None:
    walk = latentlab.traverse(linear_vae, linear_latent, pca, n_components=1, steps=3)
    names = {path.name for path in latentlab.save(walk, tmp_path, figure_format="pdf")}
    assert "sheet.png" in names


# Commands


def names_of(called: Called) -> set[str]:
    """Return the names of the files that a command wrote, all of which exist."""
    files = [Path(file) for file in called.facts["files"]]
    assert all(file.is_file() for file in files)
    return {file.name for file in files}


def test_pca_writes_the_format_asked_for_and_replaces_the_other(cli: CommandLine) -> None:
    first = names_of(cli.pca("-k", "tokens", "--out", "run"))
    assert {"cumulative_variance.png", "eigenvalues.png", "latent_rgb.png"} < first
    second = names_of(cli.pca("-k", "tokens", "--out", "run", "--format", "pdf"))
    assert {"cumulative_variance.pdf", "eigenvalues.pdf", "latent_rgb.pdf"} < second
    assert {path.name for path in Path("run").iterdir()} == second
    assert names_of(cli.pca("-k", "tokens", "--out", "run", "--figure-format", "svg")) > {
        "eigenvalues.svg"
    }


@pytest.mark.slow
def test_other_commands_take_a_figure_format(cli: CommandLine, place: Path) -> None:
    save_image(place / "other.png", 80, 64)
    both = (cli.image, place / "other.png", "-m", cli.model, "--size", SIZE, "--json")
    few = ("-n", 6, "--components", 1)
    moved = names_of(cli("transfer", *both, *few, "--format", "svg"))
    assert {"transfer.svg", "transfer_sheet.png"} < moved
    path = names_of(cli("interpolate", *both, "--steps", 3, "--figure-format", "pdf"))
    assert {"change.pdf", "sheet.png", "interpolation.gif"} < path
    one = (cli.image, *both[2:], *few)
    walk = cli("traverse", *one, "--steps", 3, "--figure-format", "pdf", "--format", "webp")
    assert {"traversal.webp", "sheet.png"} < names_of(walk)
    run = Path(walk.facts["files"][0]).parent
    assert {path.stem for path in run.glob("*.pdf")} == {
        *("cumulative_variance", "eigenvalues", "reconstruction", "scores")
    }


def test_a_command_without_figures_says_that_its_sheet_stays_png(cli: CommandLine) -> None:
    options = (cli.image, "-m", cli.model, "--size", SIZE, "-n", 6, "--components", 1)
    called = cli("directions", *options, "--format", "pdf", "--no-labels", "--compare", "none")
    assert called.code == 0
    assert "sheet is made of pixels and stays png" in called.err


def test_a_figure_format_that_is_none_is_refused(cli: CommandLine) -> None:
    called = cli.pca("--figure-format", "eps")
    assert called.code == 2
    assert "svg" in called.err


# Several curves on one axis


@pytest.mark.parametrize("kind", ["plot", "plot_eigenvalues"])
def test_curves_on_one_axis_are_told_apart(pca: PCA, kind: str) -> None:
    ax = new_figure().add_subplot()
    other = fit_pca(torch.randn(12, 30, generator=torch.Generator().manual_seed(0)))
    for one in (named(pca, "cat"), named(pca, "dog"), other):
        getattr(one, kind)(ax)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(set(legend)) == len(legend)
    assert sum("cat" in label for label in legend) == sum("dog" in label for label in legend) == 1
    curves = [line for line in ax.lines if line.get_linewidth() > 1.5]
    assert len({line.get_color() for line in curves}) == len(curves) == 3
    assert not ax.texts  # no k90 beside a single curve
    assert not any("ln k" in label for label in legend)
    assert "cat" not in ax.get_title()


def test_what_curves_share_is_their_title(pca: PCA) -> None:
    ax = new_figure().add_subplot()
    named(pca, "cat").plot(ax)
    alone = ax.get_title()
    named(pca, "dog").plot(ax)
    assert "cat" in alone
    assert ax.get_title().split() == alone.split()[2:]
    assert sum("isotropic" in text.get_text() for text in ax.get_legend().get_texts()) == 1


def test_the_same_curve_twice_is_numbered(pca: PCA) -> None:
    ax = new_figure().add_subplot()
    pca.plot(ax)
    pca.plot(ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [label for label in labels if "(2)" in label]
    assert len(set(labels)) == len(labels)


def test_what_others_drew_stays_and_a_cleared_axis_is_empty(pca: PCA) -> None:
    ax = new_figure().add_subplot()
    mine = ax.plot([1, 5], [0.2, 0.4], label="mine")[0]
    pca.plot(ax)
    pca.plot(ax)
    assert mine in ax.lines
    ax.clear()
    pca.plot(ax)
    assert any("k90" in text.get_text() for text in ax.texts)


def test_figures_without_a_layout_get_room_for_the_legend() -> None:
    figure, ax = plt.subplots(figsize=(3.6, 3.2))
    try:
        spectra(ax, "power", "flat", "spike", name="n" * 40)
        frame = ax.get_legend().get_window_extent()
        figure.canvas.draw()
        assert frame.y0 >= 0
        x, y = points_of(ax).T
        assert not ((frame.x0 < x) & (x < frame.x1) & (frame.y0 < y) & (y < frame.y1)).any()
    finally:
        plt.close(figure)


# Ticks


@pytest.mark.parametrize(
    ("low", "high"), [(1, 3), (1.02, 1.9), (3, 8), (0.11, 0.74), (40, 90), (1, 1e4), (1e-9, 1e3)]
)
def test_logarithmic_axes_have_a_few_ticks(low: float, high: float) -> None:
    ticks = PlainLogLocator(whole=False).tick_values(low, high)
    assert 3 <= len(ticks) <= 7
    assert (ticks >= low).all()
    assert (ticks <= high).all()


def test_counts_have_whole_ticks() -> None:
    assert PlainLogLocator(whole=True).tick_values(0.9, 4.4).tolist() == [1, 2, 3, 4]
    assert PlainLogLocator(whole=True).tick_values(0.9, 1.1).tolist() == [1]
    assert len(PlainLogLocator(whole=True).tick_values(5, 1)) >= 3
    assert not len(PlainLogLocator(whole=True).tick_values(-1, 1))


def test_eigenvalues_under_a_decade_have_plain_numbers() -> None:
    figure = new_figure()
    ax = figure.add_subplot()
    spectra(ax, "flat", count=6)
    figure.canvas.draw()
    low, high = ax.get_ylim()
    ticks = [tick for tick in ax.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert len(ticks) >= 2
    for tick in ticks:
        assert float(tick.label1.get_text()) == pytest.approx(tick.get_loc())


# Sheets


@pytest.mark.parametrize("count", [2, 15, 16, 17, 18, 60, 61, 301])
def test_thinned_steps_keep_both_ends_and_the_middle(count: int) -> None:
    shown = thin(count)
    assert 8 < len(shown) <= 16 or len(shown) == count
    assert shown == sorted(set(shown))
    assert shown[0] == 0
    assert shown[-1] == count - 1
    assert [count - 1 - step for step in reversed(shown)] == shown
    assert count % 2 == 0 or count // 2 in shown
    gaps = np.diff(shown)
    assert gaps.max() - gaps.min() <= 1 + (count > 16)


def test_a_long_walk_has_a_sheet_of_sixteen_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(
        "latentlab.figures.sheets.wrap_line",
        lambda text, *rest: [titles.append(text), lettering.wrap_line(text, *rest)][1],
    )
    frames = np.arange(60, dtype=np.uint8)[:, None, None, None].repeat(192, 1).repeat(192, 2)
    walk = WalkFrames([frames.repeat(3, 3)], ["PC 1"], np.linspace(-3, 3, 60).tolist(), title="a")
    sheet = walk_sheet(walk)
    assert sheet.shape[1] < 3400
    assert "a\n16 of 60 steps" in titles
    assert {"−3 σ", "+3 σ"} < {*titles}
    assert sheet[-20, 200, 0] == 0
    assert sheet[-20, -20, 0] == 59


def test_a_transfer_to_many_images_shows_the_first() -> None:
    frames = np.zeros((12, 1, 2, 96, 96, 3), np.uint8)
    names = [f"image {k}" for k in range(12)]
    sheet = transfer_sheet(frames, row_labels=["PC 1"], names=names, step=(2, "σ"), title="a")
    assert sheet.shape[1] < 16 * 100 + 170


# Fonts


@pytest.fixture
def cat_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the family of an installed font that has a square for 猫 and nothing else."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    empty = TTGlyphPen(None).glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "cat"])
    font.setupCharacterMap({ord("猫"): "cat"})
    font.setupGlyf({".notdef": empty, "cat": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 100)})
    font.setupHorizontalHeader(ascent=880, descent=-120)
    font.setupNameTable({"familyName": "Test Cats", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=880, usWinAscent=880, usWinDescent=120)
    font.setupPost()
    font.save(tmp_path / "cats.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    font_manager.fontManager.addfont(tmp_path / "cats.ttf")
    return "Test Cats"


NAMES = ["猫.jpg", "ねこ.png", "고양이", "قطة.jpg", "😀👩‍👩‍👧.webp", "a\x07b\tc", "$x_1$", "\udcff"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn_without_a_warning(pca: PCA, name: str) -> None:
    for format in ("png", "pdf", "svg"):
        figure = new_figure()
        named(pca, name).plot(figure.add_subplot())
        figure_bytes(figure, format)
    check(figure)
    lay_out_sheet((96, 96), row_labels=[name], columns=1, column_labels=[name], title=name)


@pytest.mark.filterwarnings("ignore:In future versions:UserWarning")
def test_a_font_that_has_the_glyph_is_used(pca: PCA, cat_font: str) -> None:
    assert [face.family for face in fonts.faces_for("a 猫")][1:] == [cat_font]
    assert fonts.drawable("a 猫") == "a 猫"
    figure = new_figure()
    ax = named(pca, "猫").plot(figure.add_subplot())
    assert ax.get_title().startswith("猫")
    assert cat_font in ax.title.get_fontfamily()
    figure_bytes(figure)
    sheet = lay_out_sheet((96, 96), row_labels=[""], columns=1, title="猫")
    assert (sheet.canvas[12:20, 14:20] < 100).all()  # inside the filled square


def test_without_a_font_a_square_stands_for_the_glyph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed", list)
    assert fonts.drawable("我的猫.jpg") == "□□□.jpg"
    assert fonts.drawable("two\nlines") == "two\nlines"


def test_letters_from_right_to_left_are_joined() -> None:
    from PIL import features

    if not features.check("raqm"):
        pytest.skip("this Pillow cannot shape text")
    shaped = lay_out_sheet((96, 96), row_labels=[""], columns=1, title="قطة").canvas
    apart = lay_out_sheet((96, 96), row_labels=[""], columns=1, title="ق ط ة").canvas
    ink = [(sheet < 128).any((0, 2)).nonzero()[0] for sheet in (shaped, apart)]
    assert np.ptp(ink[0]) < np.ptp(ink[1])
