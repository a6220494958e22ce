"""Models compared on the same images: order, pairing, what is chance, and what resumes."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from latentlab.cli.compare import _differences
from latentlab.errors import UsageError
from latentlab.images.arrays import to_uint8
from latentlab.images.reading import save_png
from latentlab.loaders import load_vae
from latentlab.loaders.base import LatentVAE
from latentlab.measures.base import Columns, Value
from latentlab.measures.comparison import Comparison
from latentlab.measures.protocols import Protocol
from latentlab.measures.running import Measured
from latentlab.measures.tables import latex, markdown
from latentlab.metrics.bootstrap import studentize_difference
from latentlab.recipes import asking, contrasting
from latentlab.recipes.contrasting import analyze_comparison, compare
from latentlab.recipes.evaluating import Question, analyze_metrics
from latentlab.store.opening import open_source
from latentlab.testing.linear_vae import LinearVAE, smooth_image

PLAIN = Protocol("plain", size=32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with twelve smooth images of 40×40 pixels."""
    for seed in range(12):
        pixels = to_uint8(smooth_image(40, 40, seed=seed)).numpy()
        save_png(tmp_path / "photos" / f"{seed}.png", pixels)
    return tmp_path / "photos"


class Darker(LinearVAE):
    """The linear VAE with images a little darker."""

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return super()._decode(latents) - 0.6


def known(vae: LatentVAE) -> Any:
    """Return a model whose weights have a checksum, as those of a file have."""
    vae.origin = replace(vae.origin, sha256={"weights": type(vae).__name__})
    return vae


class Wider(LinearVAE):
    """The linear VAE with more channels."""

    def __init__(self) -> None:
        super().__init__(channels=24)


def test_the_order_is_that_of_an_independent_psnr(photos: Path) -> None:
    vaes = [LinearVAE(), Wider(), Darker()]
    found = compare(vaes, photos, PLAIN, only=["psnr"])
    images = [torch.from_numpy(np.array(_read(path))) for path in sorted(photos.iterdir())]
    everything = []
    for vae, measured in zip(vaes, found.measured, strict=True):
        decibels = []
        for levels in images:
            batch = (levels.double() / 127.5 - 1).movedim(-1, 0)[None].float()
            decoded = vae.decode(vae.encode(batch).mean)[0].movedim(0, -1)
            rounded = ((decoded.clamp(-1, 1) + 1) * 127.5).round()
            decibels.append(
                20 * math.log10(255) - 10 * math.log10((rounded - levels).square().mean())
            )
        assert measured.values["psnr"].value == pytest.approx(np.mean(decibels), abs=1e-3)
        everything.append(decibels)
    ranges = np.ptp(everything, axis=0)
    assert [value for _, value in found.disputed()] == pytest.approx(
        sorted(ranges, reverse=True), abs=1e-3
    )
    assert found.disputed()[0][0] == sorted(photos.iterdir())[int(ranges.argmax())].name
    assert found.best("psnr") == 1
    assert {(one.first, one.other): one.better for one in found.differences["psnr"]} == {
        (0, 1): 1,
        (0, 2): 0,
        (1, 2): 1,
    }


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.resize((32, 32), Image.Resampling.LANCZOS))


@pytest.mark.shared
@pytest.mark.slow
def test_three_real_models_are_ordered_as_by_an_independent_psnr(
    shared: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    paths = sorted((shared / "data" / "photos").iterdir())[:120:40]
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    names = ["mini", "linear", str(shared / "models" / "taef2")]
    vaes = [load_vae(name, device="cpu", dtype="float32") for name in names]
    found = compare(vaes, folder, Protocol("96", size=96), only=["psnr"])
    expected = []
    for vae in vaes:
        decibels = []
        for path in paths:
            with Image.open(path) as image:
                levels = np.array(image.convert("RGB").resize((96, 96), Image.Resampling.LANCZOS))
            batch = torch.from_numpy(levels / 127.5 - 1).movedim(-1, 0)[None].float()
            with torch.inference_mode():
                decoded = vae.decode(vae.encode(batch).mean)[0].movedim(0, -1).numpy()
            back = np.rint((decoded.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
            decibels.append(peak_signal_noise_ratio(levels, back))
        expected.append(np.mean(decibels))
    values = [one.values["psnr"].value for one in found.measured]
    assert values == pytest.approx(expected, abs=0.05)
    assert np.argsort(values).tolist() == np.argsort(expected).tolist() == [1, 2, 0]


def test_equal_models_are_never_better_and_intervals_are_joint(photos: Path) -> None:
    names = ["psnr", "ssim", "edges"]
    same = compare([LinearVAE(), LinearVAE()], photos, PLAIN, only=names)
    assert all(one.better is None for row in same.differences.values() for one in row)
    assert same.differences["psnr"][0].low == same.differences["psnr"][0].high == 0
    found = compare([LinearVAE(), Darker()], photos, PLAIN, only=names)
    one = found.differences["psnr"][0]
    alone = studentize_difference(*found._common("psnr", (0, 1))).interval()
    assert one.low < alone[0] < one.value < alone[1] < one.high
    assert found.differences["edge_retention"][0].better is None, "nothing is better there"


def test_a_discrete_value_takes_no_interval_of_another(photos: Path) -> None:
    found = compare([LinearVAE(), Darker()], photos, PLAIN, only=["psnr"])
    alone = found.differences["psnr"][0]
    several = []
    for k, one in enumerate(found.measured):
        rows = np.array([[1.0]] * 11 + [[1.0 + k]])
        psnr = one.columns["psnr"]
        added = {"values": one.values, "columns": one.columns, "measures": one.measures}
        new = {"values": Value(1), "columns": Columns(rows, psnr.measure, "reach")}
        new["measures"] = one.measures["psnr"]
        changed = {key: {**old, "reach": new[key]} for key, old in added.items()}
        several.append(Measured(**{**vars(one), **changed}))
    table = Comparison(found.models, tuple(several)).differences
    assert (table["psnr"][0].low, table["psnr"][0].high) == (alone.low, alone.high)
    assert table["psnr"][0].better == 0
    assert table["reach"][0].low is None
    assert table["reach"][0].better is None


def test_images_that_one_model_lacks_are_left_out_of_the_pairs(photos: Path) -> None:
    vae = LinearVAE()
    found = compare([vae, Darker()], photos, PLAIN, only=["psnr"])
    whole, other = found.measured
    columns = other.columns["psnr"]
    fewer = Measured(
        **{
            **vars(other),
            "paths": other.paths[1:],
            "columns": {"psnr": type(columns)(columns.rows[1:], columns.measure, "psnr")},
        }
    )
    (difference,) = Comparison(found.models, (whole, fewer)).differences["psnr"]
    assert difference.n == 11
    rows = whole.columns["psnr"].rows[1:] - columns.rows[1:]
    assert difference.value == pytest.approx(rows.mean())


def test_an_interrupted_comparison_continues(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, question = tmp_path / "out", Question(PLAIN, ("psnr", "ssim", "kl"))
    first, other = known(LinearVAE()), known(Darker())
    whole = analyze_comparison([first, other], photos, question, folder=folder)
    (folder / "measured-2.json").unlink()
    before = first.encoded, other.encoded
    again = analyze_comparison([first, other], photos, question, folder=folder)
    assert again.facts == whole.facts
    assert other.encoded - before[1] >= 12 > first.encoded - before[0]
    changed = Question(PLAIN.sized(64), ("psnr",))
    before = first.encoded
    analyze_comparison([first, other], photos, changed, folder=folder)
    assert first.encoded - before >= 12


@pytest.mark.parametrize("what", ["image", "labels", "version"])
def test_what_was_measured_is_not_recalled_for_other_contents(
    what: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("a,1")
    question = Question(PLAIN, ("psnr",), options={"psnr": {}, "knn": {"labels": str(labels)}})
    said: list[str] = []

    def again() -> int:
        said.clear()
        vaes = [known(LinearVAE()), known(Darker())]
        analyze_comparison(vaes, photos, question, folder=tmp_path / "out", say=said.append)
        return sum("measured before" in line for line in said)

    assert (again(), again()) == (0, 2)
    if what == "image":
        image = photos / "3.png"
        times, content = image.stat(), image.read_bytes()
        # The end of the file, its checksum, is read by nobody: the size and the time stay.
        image.write_bytes(content[:-1] + b"?")
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif what == "labels":
        labels.write_text("a,2")
    else:
        monkeypatch.setattr(asking, "library_versions", lambda: {"latentlab": "next"})
    assert again() == 0


@pytest.mark.parametrize("command", ["compare", "metrics"])
def test_a_model_is_resumed_where_it_was_interrupted(
    command: str, photos: Path, tmp_path: Path
) -> None:
    question = Question(PLAIN, ("psnr", "ssim", "noise", "kl", "latents"))

    def run(folder: Path, vae: Any, progress: Any = None) -> dict[str, Any]:
        if command == "compare":
            both = [known(Darker()), vae]
            saved = analyze_comparison(both, photos, question, folder=folder, progress=progress)
        else:
            saved = analyze_metrics(vae, photos, question, folder=folder, progress=progress)
        return {key: one for key, one in saved.facts.items() if key != "files"}

    def stop(what: str, done: int, total: int) -> None:
        # Batches have eight images: four are still to be measured.
        if done == 9 and "darker" not in what and "(2)" in what + "(2)" * (command == "metrics"):
            raise KeyboardInterrupt

    first = known(LinearVAE())
    whole = run(tmp_path / "whole", first)
    # One decode of each image and five with noise; the sheet shows the same reconstructions.
    assert first.decoded == 12 * 6
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", known(LinearVAE()), stop)
    (partial,) = (tmp_path / "out").glob("measuring*.jsonl")
    with partial.open("a") as file:
        file.write('{"metric": "psnr", "pa')  # as a killed process leaves it
    again = known(LinearVAE())
    assert run(tmp_path / "out", again) == whole
    # Those of the sheet's six that the interrupted run had decoded are decoded once more.
    before = [entry.path for entry in open_source(photos).entries()][:8]
    shown = [one["path"] for one in whole.get("disputed", [])[: contrasting.SHOWN]]
    assert again.decoded == 4 * 6 + len({*shown} & {*before})
    assert not [*(tmp_path / "out").glob("measuring*.jsonl")]


@pytest.mark.parametrize("command", ["compare", "metrics"])
def test_options_that_are_code_are_measured_again(
    command: str, photos: Path, tmp_path: Path
) -> None:
    space = {"feature_distance": {"features": lambda images: images.mean((2, 3))}}
    question, said = Question(PLAIN, ("psnr",), options=space), list[str]()
    how: dict[str, Any] = {"folder": tmp_path / "out", "say": said.append}
    if command == "compare":
        analyze_comparison([known(LinearVAE()), known(Darker())], photos, question, **how)
    else:
        analyze_metrics(known(LinearVAE()), photos, question, **how)
    assert any("options that are objects of Python: measured again" in line for line in said)


def test_weights_that_were_changed_are_measured_again(photos: Path, tmp_path: Path) -> None:
    question, said = Question(PLAIN, ("psnr",)), list[str]()

    def again(vaes: list[LatentVAE]) -> float:
        said.clear()
        saved = analyze_comparison(vaes, photos, question, folder=tmp_path / "o", say=said.append)
        return saved.facts["table"][0]["values"]["mini"]["value"]

    mini, plain = load_vae("mini", device="cpu"), LinearVAE()
    before = again([mini, plain])
    assert again([mini, plain]) == before
    assert [line.split(":")[0] for line in said[1:]] == [
        "mini",
        "linear has no checksum of its weights",
    ]
    with torch.no_grad():
        next(iter(mini.module.decoder.parameters())).mul_(0.5)  # type: ignore[attr-defined]
    assert again([mini, plain]) < before


def test_the_sheet_of_images_of_two_sizes_names_the_images_that_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6):
        pixels = to_uint8(smooth_image(40, 48 if seed % 2 else 32, seed=seed)).numpy()
        save_png(tmp_path / "mixed" / f"{seed}.png", pixels)
    drawn: dict[str, Any] = {}

    def compose(images: list[Any], others: dict[str, list[Any]], **given: Any) -> Any:
        drawn.update(given, images=images, others=others)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(contrasting, "compose_reconstructions", compose)
    question = Question(Protocol("plain", crop="none", size=0), ("psnr",))
    vaes = [LinearVAE(), Darker()]
    analyze_comparison(vaes, tmp_path / "mixed", question, folder=tmp_path / "out")
    kept = drawn["others"]
    monkeypatch.setattr(contrasting, "_KEPT", 0)
    analyze_comparison(vaes, tmp_path / "mixed", question, folder=tmp_path / "again")
    assert all(np.array_equal(drawn["others"][name], kept[name]) for name in kept)
    assert len(drawn["images"]) == 3
    for image, decoded, label in zip(
        drawn["images"], drawn["others"]["linear"], drawn["labels"], strict=True
    ):
        path = tmp_path / "mixed" / f"{label.partition(':')[0]}.png"
        with Image.open(path) as expected:
            assert np.array_equal(image, np.array(expected))
        assert decoded.shape == image.shape


def test_tables_carry_the_protocol_and_mark_the_best(photos: Path) -> None:
    found = compare([LinearVAE(), Darker()], photos, PLAIN, only=["psnr", "ssim"])
    facts = found.facts()
    assert found._repr_html_().count("<b>") == 2
    assert repr(found) == "Comparison of linear, linear (2) in 2 values"
    with pytest.raises(UsageError, match="without curves"):
        found.plot()
    assert facts["models"] == ["linear", "linear (2)"]
    assert "protocol plain: square, lanczos 32×32" in markdown(facts)
    assert "| psnr (dB) |" in markdown(facts)
    assert r"$\mathbf{" in latex(facts)
    assert latex(facts).count(r"\\") == 3
    row = facts["table"][0]
    # As where a logarithmic interval has one long side.
    row["values"]["linear"] |= {"value": 1.0, "low": 0.9, "high": 4.0}
    assert r"1\ [0.9, 4]" in latex(facts)
    assert facts["disputed"][0]["range"] >= facts["disputed"][-1]["range"]


def test_names_with_signs_of_markup_stand_in_the_tables_as_they_are(photos: Path) -> None:
    vaes = [LinearVAE(), Darker()]
    found = compare(vaes, photos, PLAIN, only=["psnr"])
    facts = replace(found, models=("a|b", r"c:\new_~^1")).facts()
    head, _, row = markdown(facts).splitlines()[:3]
    assert head.startswith(r"| metric | a\|b | c:\new_~^1 |")
    assert row.endswith(r"| a\|b |")
    escaped = r"c:\textbackslash{}new\_\textasciitilde{}\textasciicircum{}1"
    assert f"metric & a|b & {escaped}" in latex(facts)
    assert "interval excludes 0.\n" in markdown(facts)
    assert "excludes 0, jointly for all 2 comparisons." in markdown({**facts, "comparisons": 2})


def test_one_model_is_no_comparison(photos: Path) -> None:
    with pytest.raises(UsageError, match="at least two"):
        compare([LinearVAE()], photos)


def test_the_command_keeps_its_contract(cli: CommandLine, photos: Path) -> None:
    models = ("-m", cli.model, "-m", "linear")
    how = ("--size", "32", "--only", "psnr,latents,spectrum", "--out", "out", "--quiet")
    facts = cli("compare", photos, *models, *how, "--json", "--per-image", "parquet").facts
    assert {"models", "n_images", "protocol", "table", "files"} <= set(facts)
    row = next(row for row in facts["table"] if row["metric"] == "psnr")
    assert set(row["values"]) == set(facts["models"])
    assert {"first", "other", "value", "low", "high", "better"} <= set(row["differences"][0])
    names = {Path(file).name for file in facts["files"]}
    assert {"curves.png", "reconstructions.png", "comparison.tex", "per_image.parquet"} <= names
    assert json.loads(Path("out/comparison.json").read_text())["models"] == facts["models"]
    assert cli("compare", photos, "-m", "linear").code == 2


def test_too_few_images_are_no_evidence_of_equality() -> None:
    none = {"low": None, "better": None}
    facts: dict[str, Any] = {"n_images": 3, "table": [{"metric": "psnr", "differences": [none]}]}
    (said,) = _differences(facts)
    assert said == "no difference has an interval: it takes 5 images, and these are 3 images"
    facts["table"][0]["differences"] = [none, {"low": -1.0, "better": None}]
    assert _differences(facts) == [
        "no difference excludes 0: no model can be called better in any metric"
    ]
