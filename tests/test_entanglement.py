"""Several images: their numbers are those of each alone, and the intervals are Student's t."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import CommandLine, save_image
from scipy import stats

import latentlab
from latentlab.errors import ImageError, UsageError
from latentlab.recipes.entanglement import MEASURES, Entanglement, entanglement
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    sides = ((70, 90), (64, 64), (48, 80))
    return [save_image(tmp_path / f"{index}.png", *shape) for index, shape in enumerate(sides)]


@pytest.mark.slow
def test_each_image_has_the_numbers_that_it_has_alone(photos: list[Path], tmp_path: Path) -> None:
    vae, how = LinearVAE(), {"n_samples": 16, "seed": 1}
    found, saved = entanglement(vae, photos, folder=tmp_path / "all", **how)
    for row, photo in enumerate(photos):
        alone = latentlab.analyze(vae, photo, nulls=[], folder=tmp_path / str(row), **how).facts
        shares = {one["model"]: one["value"] for one in alone["additivity"]["shares"]}
        for measure in MEASURES:
            expected = shares.get(measure, alone.get(measure))
            assert float(found.values["model"][measure][row]) == pytest.approx(expected)
        pixels = alone["controls"]["pixels"]
        assert float(found.values["pixels"]["k90"][row]) == pixels["k90"]
    facts = json.loads((tmp_path / "all" / "entanglement.json").read_text())
    assert [image["image"] for image in facts["images"]] == [photo.stem for photo in photos]
    assert [path.name for path in saved.files] == [
        *("entanglement.png", "entanglement.json", "run.json")
    ]


def test_means_and_paired_differences_have_students_intervals() -> None:
    generator = torch.Generator().manual_seed(0)
    values = {
        who: {measure: torch.randn(9, generator=generator).double() for measure in MEASURES}
        for who in ("model", "pixels")
    }
    found = Entanglement(tuple("abcdefghi"), values, {})
    difference = (values["model"]["k90"] - values["pixels"]["k90"]).numpy()
    for kept, given in (
        (found.mean("k90"), values["model"]["k90"].numpy()),
        (found.mean("k90", minus="pixels"), difference),
    ):
        expected = stats.t.interval(0.95, 8, given.mean(), stats.sem(given))
        assert kept["mean"] == pytest.approx(given.mean())
        assert (kept["lower"], kept["upper"]) == pytest.approx(expected, abs=1e-3)


def test_the_figure_draws_every_image_and_its_means() -> None:
    values = {who: {m: torch.tensor([0.2, 0.4]) for m in MEASURES} for who in ("model", "pixels")}
    found = Entanglement(("a", "b"), values, {})
    left, middle, _ = found.draw().axes
    drawn = torch.tensor([line.get_ydata().tolist() for line in left.lines[:2]])
    torch.testing.assert_close(drawn, torch.tensor([[0.2, 0.2], [0.4, 0.4]]))
    assert middle.lines[-1].get_ydata() == pytest.approx([30.0])
    assert middle.get_title() == "sum of effects (%)"


def test_one_image_has_no_interval_and_a_broken_one_is_skipped(
    photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    found, _ = entanglement(LinearVAE(), [photos[0], broken], n_samples=8, folder=tmp_path / "one")
    assert found.mean("linear")["lower"] is None
    assert list(found.skipped) == [str(broken)]
    with pytest.raises(ImageError):
        entanglement(LinearVAE(), [broken], n_samples=8, folder=tmp_path / "none")
    with pytest.raises(UsageError):
        entanglement(LinearVAE(), [])


def test_pca_of_a_folder_asks_for_the_neighborhood_by_name(
    cli: CommandLine, photos: list[Path]
) -> None:
    folder = photos[0].parent
    how = ("-m", cli.model, "-n", 8, "--size", 32)
    assert cli("pca", folder, *how).code == 3
    facts = cli("pca", folder, *how, "-k", "augment", "--json").facts
    assert facts["n_images"] == 3
    shown = cli("pca", folder, *how, "-k", "augment")
    assert "means over 3 images" in shown.out, shown.err
    assert "model − pixels" in shown.out


@pytest.mark.parametrize(
    "option", [("--nulls", "parallel"), ("--components", "5"), ("--randomized",), ("--key", "z")]
)
def test_pca_of_a_folder_refuses_what_it_would_ignore(
    option: tuple[str, ...], cli: CommandLine, photos: list[Path]
) -> None:
    refused = cli("pca", photos[0].parent, "-m", cli.model, "-n", 8, "-k", "augment", *option)
    assert refused.code == 2
    assert f"{option[0]} with a folder of images" in refused.err
    assert "one by one" in refused.err
