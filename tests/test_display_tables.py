"""Results as notebooks show them: HTML that escapes what is from outside, and frames of pandas."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import linregress

import latentlab
from latentlab.chance.verdict import judge
from latentlab.components.fitting import fit_pca
from latentlab.directions.factor_model import factor_model
from latentlab.directions.transfer import transfer_directions
from latentlab.encoding.encoder import encode
from latentlab.encoding.palette import find_palette
from latentlab.encoding.reconstruction import reconstruct
from latentlab.errors import MissingExtraError
from latentlab.figures.tables import frame_of, html_table
from latentlab.images.arrays import to_uint8
from latentlab.images.image import Image
from latentlab.images.reading import save_png
from latentlab.measures.protocols import Protocol
from latentlab.neighborhoods.sampling import neighborhood
from latentlab.pullback import decoder_map, top_singular
from latentlab.recipes.analysis import Analysis
from latentlab.recipes.contrasting import compare
from latentlab.recipes.diagnosing import diagnose
from latentlab.recipes.entanglement import MEASURES, Entanglement
from latentlab.recipes.evaluating import measure
from latentlab.recipes.finding import analyze_directions
from latentlab.recipes.starting import traverse
from latentlab.results.folders import Saved
from latentlab.store.filling import encode_folder
from latentlab.store.reading import open_store
from latentlab.testing import Report
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.walks.interpolation import interpolate

EVIL = "<script>alert('1')</script>&\"\udcff"
"""A name from outside: markup, quotes, and a byte that is no UTF-8."""
PLAIN = EVIL.replace("\udcff", r"\udcff")
_VOID = {"img", "br"}


class Page(HTMLParser):
    """Reads HTML and fails where a tag is not closed or not allowed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.tags, self.attributes = "", set[str](), ""
        self.feed(source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += " ".join(value or "" for _, value in attributes)
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def vae() -> LinearVAE:
    """Return a VAE whose model's name is from outside, too."""
    found = LinearVAE()
    found.spec = replace(found.spec, name=EVIL)
    return found


@pytest.fixture(scope="module")
def results(vae: LinearVAE, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Return a result of every type, with a name from outside."""
    folder = tmp_path_factory.mktemp("results")
    photos = folder / "photos"
    photos.mkdir()
    images = [smooth_image(32, 32, seed) for seed in range(8)]
    for number, image in enumerate(images):
        save_png(photos / f"{number}.png", to_uint8(image).numpy())
    latents = [encode(vae, Image(image, name=EVIL)) for image in images[:3]]
    z = latents[0]
    hood = neighborhood(vae, z, "augment", n_samples=24)
    pca = fit_pca(hood)
    judgment = judge(hood, pca, nulls=["parallel"])
    protocol = Protocol(name="small", size=32)
    encode_folder(vae, photos, folder / "store", size=32, workers=0)
    return {
        "latent": z,
        "neighborhood": hood,
        "pca": pca,
        "judgment": replace(judgment, left_out={EVIL: "of its cost"}),
        "directions": replace(pca.leading(3), meanings=(EVIL,) * 3, notes=(EVIL,)),
        "walk": traverse(vae, z, pca, n_components=2, steps=3),
        "interpolation": interpolate(vae, z, latents[1], steps=5),
        "reconstruction": reconstruct(vae, z),
        "factor model": replace(factor_model(hood), constant=(EVIL,)),
        "transfer": transfer_directions(vae, z, pca.leading(2), latents[1:], n_samples=16),
        "measured": measure(vae, photos, protocol, only=["psnr", "latents"]),
        "comparison": compare([vae, LinearVAE(3)], photos, protocol, only=["psnr"]),
        "diagnosis": diagnose(vae, torch.stack(images)),
        "palette": find_palette(vae, levels=3),
        "entanglement": Entanglement(
            ("a", "b"),
            {
                who: dict(zip(MEASURES, torch.rand(5, 2), strict=True))
                for who in ("model", "pixels")
            },
            {EVIL: "too small"},
        ),
        "analysis": Analysis(pca, judgment, hood, Saved(folder, (), {})),
        "found": analyze_directions(vae, z, n_samples=16, labels=False, folder=folder / "found"),
        "store": open_store(folder / "store"),
        "singular": top_singular(decoder_map(vae, z), 2),
        "report": Report(EVIL, problems=(EVIL,), remarks=("a remark",)),
    }


NAMELESS = {"palette", "store", "singular"}
"""What shows no name from outside that this test can choose."""


def test_every_result_shows_itself_and_escapes_what_is_from_outside(
    results: Mapping[str, Any],
) -> None:
    for name, result in results.items():
        if hasattr(result, "_repr_png_"):
            assert result._repr_png_().startswith(b"\x89PNG"), name
            assert not hasattr(result, "_repr_html_"), f"{name}: HTML would hide the image"
            continue
        source = result._repr_html_()
        page = Page(source)
        assert "script" not in page.tags, name
        assert name in NAMELESS or PLAIN in page.text + page.attributes, name
        assert source.encode(), name
        assert len(source) < 400_000, f"{name}: {len(source):,}"
        # Colors are those of the page: a notebook may be dark.
        assert "color:" not in source, name
        assert "background" not in source, name


def test_no_result_that_shows_itself_is_forgotten_here(results: Mapping[str, Any]) -> None:
    shown = {"_repr_html_", "_repr_png_", "to_frame"}
    found = {
        node.name
        for path in Path(latentlab.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and shown & {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    }
    assert found == {type(result).__name__ for result in results.values()}


def test_every_result_is_one_short_line_of_text(results: Mapping[str, Any]) -> None:
    for name, result in results.items():
        if name not in {"analysis", "report", "judgment"}:
            assert "\n" not in repr(result), name
            assert len(repr(result)) < 300, name
        assert "tensor(" not in repr(result), name


def test_frames_hold_the_numbers(results: Mapping[str, Any], vae: LinearVAE) -> None:
    hood, pca = results["neighborhood"], results["pca"]
    rows = hood.samples.double().numpy()
    frame = hood.to_frame()
    assert list(frame) == list(hood.factors)
    np.testing.assert_array_equal(frame["hue"], hood.factors["hue"].double())
    variances = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:-1] ** 2 / (len(rows) - 1)
    frame = pca.to_frame()
    np.testing.assert_allclose(frame["explained_variance"], variances, rtol=1e-4)
    np.testing.assert_allclose(frame["cumulative"].iloc[-1], 1)
    assert frame["component"].tolist() == [*range(1, len(rows))]
    directions = results["directions"].to_frame()
    np.testing.assert_allclose(directions["deviation"], np.sqrt(variances[:3]), rtol=1e-4)
    np.testing.assert_allclose(directions["share"], variances[:3] / variances.sum(), rtol=1e-4)
    assert directions["label"].tolist() == ["PC 1", "PC 2", "PC 3"]
    assert directions["meaning"].tolist() == [EVIL] * 3
    nulls = results["judgment"].to_frame().set_index("null")
    curve = results["judgment"].nulls[0].curve
    fit = linregress(np.log(np.arange(1, len(curve) + 1)), curve)
    assert nulls.loc["isotropic", "log_fit_r2"] == pytest.approx(fit.rvalue**2)


def test_frames_of_walks_and_paths_hold_the_numbers(results: Mapping[str, Any]) -> None:
    walk, path = results["walk"], results["interpolation"]
    frame = walk.to_frame()
    assert frame["label"].tolist() == ["PC 1", "PC 2"]
    assert frame["flicker"].tolist() == [one.scores.flicker for one in walk.paths]
    frame = path.to_frame()
    np.testing.assert_allclose(frame["position"], np.linspace(0, 1, 5))
    # A linear decoder changes the image by the same amount at every step.
    assert np.isnan(frame["change"][0])
    np.testing.assert_allclose(frame["change"][1:], path.straight / 4, rtol=1e-4)


def test_frames_of_metrics_hold_the_numbers(results: Mapping[str, Any]) -> None:
    measured, compared = results["measured"], results["comparison"]
    frame = measured.to_frame().set_index("metric")
    each = measured.columns["psnr"].each()
    assert frame.loc["psnr", "value"] == pytest.approx(np.mean(each))
    assert frame.loc["psnr", "n"] == 8
    assert frame.loc["psnr", "unit"] == "dB"
    assert frame.loc["psnr", "better"] == "higher"
    frame = compared.to_frame().set_index(["metric", "model"])["value"]
    assert frame["psnr", compared.models[0]] == pytest.approx(np.mean(each))
    assert frame["psnr", compared.models[0]] > frame["psnr", compared.models[1]]
    assert compared._repr_html_().count("<b>") == 1


def test_frames_of_findings_and_shares_hold_the_numbers(
    results: Mapping[str, Any], vae: LinearVAE
) -> None:
    diagnosis = results["diagnosis"]
    frame = diagnosis.to_frame().set_index("name")
    assert frame.loc["blur", "value"] == diagnosis["blur"].value
    assert frame["found"].tolist() == [one.found for one in diagnosis.findings]
    palette = results["palette"].to_frame()
    assert palette[["red", "green", "blue"]].drop_duplicates().shape == (27, 3)
    # A flat color in closed form: every pixel of a patch times the basis.
    color = palette[["red", "green", "blue"]].iloc[5].to_numpy()
    patch = np.repeat(color, vae.spec.stride**2)
    expected = vae.basis.double().numpy() @ patch
    np.testing.assert_allclose(palette.iloc[5, 3:].to_numpy(float), expected, atol=1e-5)
    shares = results["factor model"].to_frame().set_index("model")["value"]
    assert shares["linear"] == results["factor model"].shares["linear"].value
    frame = results["transfer"].to_frame()
    assert frame["cosine"].mean() == pytest.approx(float(results["transfer"].cosines.mean()))
    frame = results["entanglement"].to_frame()
    assert frame[frame["copies"] == "model"]["linear"].mean() == pytest.approx(
        results["entanglement"].mean("linear")["mean"]
    )
    # All singular values of an orthonormal transform are 1.
    np.testing.assert_allclose(results["singular"].to_frame()["value"], 1, rtol=1e-4)
    assert len(results["found"].to_frame()) == len(results["found"].directions.labels)


def test_a_palette_draws_each_color_in_its_own_color(results: Mapping[str, Any]) -> None:
    from latentlab.figures.canvas import new_figure

    palette = results["palette"]
    ax = palette.plot(new_figure().add_subplot())
    drawn = ax.collections[0]
    np.testing.assert_allclose(drawn.get_facecolors()[:, :3], (palette.colors + 1) / 2)
    centered = palette.latents - palette.latents.mean(0)
    lengths = np.linalg.norm(np.asarray(drawn.get_offsets()), axis=1) ** 2
    two = float(palette.explained_variance_ratio[:2].sum())
    assert lengths.sum() / float(centered.square().sum()) == pytest.approx(two)


def test_frames_need_pandas_and_say_so(
    results: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for name, result in results.items():
        if hasattr(result, "to_frame"):
            with pytest.raises(MissingExtraError, match="pip install pandas"):
                result.to_frame()
        else:
            assert name in {"latent", "reconstruction", "analysis", "report"}


def test_a_long_table_is_cut_and_says_so() -> None:
    page = Page(html_table(["number"], [[k] for k in range(100)]))
    assert "39" in page.text
    assert "60 more rows" in page.text
    assert len(frame_of([{"number": k} for k in range(100)])) == 100


def test_cells_are_readable() -> None:
    row = (-0.000123456, 1234567, -38020.4, 2.5e12, None, float("nan"), True, "text")
    heads = [str(k) for k in range(len(row))]
    page = Page(html_table(heads, [row]))
    shown = page.text.removeprefix("".join(heads))
    assert shown == "".join(("−0.0001235", "1,234,567", "−38,020", "2.5e+12", "––", "yes", "text"))


def test_no_number_below_a_billion_gets_an_exponent() -> None:
    for value, shown in ((9999.4, "9999"), (9999.6, "10,000"), (999_999_999.0, "999,999,999")):
        assert Page(html_table(["a"], [[value]])).text == f"a{shown}"


def test_a_frame_keeps_what_is_unknown_apart_from_numbers(tmp_path: Path) -> None:
    frame = frame_of([{"a": 1, "b": None, "c": "\udcff"}, {"a": 2, "b": 0.5, "c": None}])
    assert frame["a"].sum() == 3
    assert frame["b"].isna().tolist() == [True, False]
    assert frame["c"][0] == "\udcff"
