"""What a page of the explorer can choose, and that its numbers and the files of a start count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer_client import Page, page_of, png_of
from PIL import Image

import latentlab
from latentlab.errors import ArgumentError, UsageError
from latentlab.explorer.choices import (
    files_beside,
    finder_choices,
    neighborhood_choices,
    numbers_of,
    options_of,
    sort_options,
)
from latentlab.explorer.opening import explore
from latentlab.neighborhoods import SAMPLERS

HOW: dict[str, Any] = {"size": 32, "port": 0, "browser": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of twelve images and a clip of four frames."""
    root = tmp_path_factory.mktemp("choices")
    rng = np.random.default_rng(0)
    for index in range(12):
        array = rng.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(array).save(root / f"{index:02d}.png")
    frames = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(4)]
    frames[0].save(root / "clip.gif", save_all=True, append_images=frames[1:])
    return root


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    """Return a page of an image that lies in a folder."""
    vae = latentlab.load_vae("linear")
    running = explore(vae, folder / "00.png", neighborhood="tokens", **HOW)
    with running as explorer, page_of(explorer) as opened:
        opened.wait_for_fits(complete=True)
        yield opened


def search(page: Page, **plan: Any) -> dict[str, Any]:
    """Return the directions of another search, complete."""
    page.say("fit", **{"neighborhood": "tokens", "finder": "pca", **plan})
    fit = page.wait_for_fits(complete=True)["fits"][0]
    assert isinstance(fit, dict)
    return fit


def expected(folder: Path, neighborhood: str, finder: str = "pca", **options: Any) -> Any:
    """Return the directions that the public functions find."""
    vae = latentlab.load_vae("linear")
    z = latentlab.encode(vae, folder / "00.png", size=32)
    own = {name: options.pop(name) for name in tuple(options) if name in ("leading", "other")}
    hood = latentlab.neighborhood(vae, z, neighborhood, n_samples=16, **options)
    return latentlab.find_directions(vae, z, hood, finder=finder, **own)


def steps(fit: dict[str, Any]) -> list[float]:
    return [one["step"] for one in fit["directions"]]


def test_numbers_of_a_page_are_options_of_neighborhood_and_finder(page: Page, folder: Path) -> None:
    settings = {"radius": 0.7, "leading": 4}
    fit = search(page, neighborhood="gaussian", finder="ica", n_samples=16, settings=settings)
    assert fit["plan"]["settings"] == settings
    found = expected(folder, "gaussian", "ica", radius=0.7, leading=4)
    np.testing.assert_allclose(steps(fit), found.step_lengths.numpy(), rtol=1e-5)
    page.say("code", state={"alphas": [1]})
    text = page.wait_for("code")["text"]
    assert "'gaussian', n_samples=16, seed=0, radius=0.7)" in text
    assert "finder='ica', seed=0, leading=4)" in text


def test_settings_that_nothing_has_and_files_are_refused(page: Page) -> None:
    for settings in ({"folder": 5}, {"rotation": 5}):
        page.say("fit", neighborhood="gaussian", finder="pca", settings=settings)
        assert next(iter(settings)) in page.wait_for("problem")["text"]


def test_the_folder_of_an_image_has_its_neighbors(page: Page, folder: Path) -> None:
    fit = search(page, neighborhood="knn", n_samples=12)
    vae = latentlab.load_vae("linear")
    z = latentlab.encode(vae, folder / "00.png", size=32)
    hood = latentlab.neighborhood(vae, z, "knn", n_samples=12, folder=str(folder))
    found = latentlab.find_directions(vae, z, hood)
    np.testing.assert_allclose(steps(fit), found.step_lengths.numpy(), rtol=1e-5)


def test_difference_leads_to_the_image_that_is_blended_with(page: Page, folder: Path) -> None:
    page.say("fit", neighborhood="gaussian", finder="difference", n_samples=16)
    assert "second image" in page.wait_for("problem")["text"]
    other = np.random.default_rng(9).integers(0, 256, (32, 32, 3), np.uint8)
    page.send_image(png_of(other), role="other", name="noise.png")
    page.wait_for("other")
    fit = search(page, neighborhood="gaussian", finder="difference", n_samples=16)
    (direction,) = fit["directions"]
    assert direction["label"] == "00 → noise"
    assert direction["reliability"] is None  # samples play no part in where it leads
    vae = latentlab.load_vae("linear")
    start, end = (
        latentlab.encode(vae, image, size=32).values.double().numpy().ravel()
        for image in (folder / "00.png", other)
    )
    row = (end - start) / np.linalg.norm(end - start)
    z = latentlab.encode(vae, folder / "00.png", size=32)
    hood = latentlab.neighborhood(vae, z, "gaussian", n_samples=16)
    deviation = (hood.samples.double().numpy() @ row).std(ddof=1)
    assert direction["step"] == pytest.approx(deviation, rel=1e-4)
    page.say("code", state={"alphas": [1]})
    assert "finder='difference', seed=0, other='noise.png')" in page.wait_for("code")["text"]


def test_supervised_finds_factors_where_they_are_known(page: Page) -> None:
    fit = search(page, neighborhood="augment", finder="supervised", n_samples=16)
    assert "rotation" in {one["label"] for one in fit["directions"]}
    page.say("fit", neighborhood="gaussian", finder="supervised", n_samples=16)
    assert "known factors" in page.wait_for("problem")["text"]


def test_what_is_not_there_says_why() -> None:
    vae = latentlab.load_vae("linear")
    missing = {one["name"]: one["why"] for one in neighborhood_choices([vae], ()) if one["why"]}
    assert missing.keys() == {"knn", "frames"}
    assert "--set folder=DIR" in missing["knn"]
    given = (("folder", "x"), ("video", "y"))
    assert not any(one["why"] for one in neighborhood_choices([vae], given))
    blending = {one["name"] for one in finder_choices(()) if one["blend"]}
    assert blending == {"difference"}
    assert not any(one["blend"] for one in finder_choices((("other", "b.png"),)))


def test_files_follow_from_the_path(folder: Path) -> None:
    assert files_beside(folder / "00.png") == {"folder": str(folder)}
    clip = str(folder / "clip.gif")
    assert files_beside(clip) == {"folder": str(folder), "video": clip}
    assert files_beside("sample:flower") == {}
    assert files_beside(np.zeros((8, 8, 3))) == {}
    assert files_beside("missing.png") == {}
    assert files_beside(folder / "store", images=folder) == {"folder": str(folder)}


def test_a_clip_has_its_frames(folder: Path) -> None:
    vae = latentlab.load_vae("linear")
    running = explore(vae, folder / "clip.gif", neighborhood="frames", **HOW)
    with running as explorer, page_of(explorer) as page:
        assert page.wait_for_fits()["fits"][0]["n_samples"] == 4


def test_options_of_a_start_are_sorted() -> None:
    options = {"rotation": "20", "leading": 8, "folder": "here", "other": "b.png"}
    settings, files = sort_options(options, "augment", "ica")
    assert settings == {"rotation": 20.0, "leading": 8.0}
    assert files == {"folder": "here", "other": "b.png"}
    with pytest.raises(ArgumentError, match="turn"):
        sort_options({"turn": 3}, "augment", "pca")
    with pytest.raises(UsageError, match="a number"):
        sort_options({"rotation": "much"}, "augment", "pca")


def test_options_are_given_to_what_has_them() -> None:
    pairs = (("rotation", 5.0), ("leading", 4.0))
    assert options_of(SAMPLERS["augment"], pairs, (("folder", "x"),)) == {"rotation": 5.0}
    assert options_of(SAMPLERS["knn"], pairs, (("folder", "x"),)) == {"folder": "x"}
    assert numbers_of(SAMPLERS["gaussian"]) == {"radius": 0.1}


def test_a_start_that_cannot_work_is_refused_at_once() -> None:
    vae = latentlab.load_vae("linear")
    with pytest.raises(UsageError, match="folder"):
        explore(vae, "sample:flower", neighborhood="knn", **HOW)
    with pytest.raises(UsageError, match="second image"):
        explore(vae, "sample:flower", finder="difference", **HOW)
