"""The explorer's map of a store: places, neighbors, thumbnails, and the way to one image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer_client import Page, page_of, pixels
from PIL import Image
from sklearn import decomposition
from sklearn.neighbors import NearestNeighbors

import latentlab
from latentlab.errors import UsageError
from latentlab.explorer.maps import SIDE, nearest, thumbnail
from latentlab.explorer.opening import Explorer, explore

COUNT = 30
HOW: dict[str, Any] = {"neighborhood": "tokens", "port": 0, "browser": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images of flat colors and noise, and with the store of their latents."""
    root = tmp_path_factory.mktemp("map")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    for index in range(COUNT):
        color = rng.integers(0, 256, 3)
        array = np.clip(color + rng.normal(0, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(array).save(root / "images" / f"{index:02d}.png")
    how: dict[str, Any] = {"size": 64, "workers": 0}
    vae = latentlab.load_vae("linear")
    latentlab.encode_folder(vae, root / "images", root / "store", **how)
    return root


@pytest.fixture(scope="module")
def explorer(folder: Path) -> Iterator[Explorer]:
    """Return a running explorer of the store and its images."""
    vae, images = latentlab.load_vae("linear"), folder / "images"
    with explore(vae, folder / "store", images=images, **HOW) as running:
        yield running


@pytest.fixture
def page(explorer: Explorer) -> Iterator[Page]:
    """Return a page of the map."""
    with page_of(explorer) as opened:
        yield opened


def latents(folder: Path) -> np.ndarray:
    store = latentlab.open_store(folder / "store")
    return torch.cat(list(store.batches(64))).flatten(1).double().numpy()


def test_places_are_scores_and_neighbors_are_near(page: Page, folder: Path) -> None:
    assert page.heard[0]["map"] == COUNT
    found = page.wait_for("map")
    places = np.frombuffer(found["files"]["places"], "<f4").reshape(COUNT, 2)
    fitted = decomposition.PCA(16, svd_solver="full").fit(latents(folder))
    scores = fitted.transform(latents(folder))
    scale = np.quantile(np.abs(scores[:, :2]), 0.995)
    np.testing.assert_allclose(np.abs(places), np.abs(scores[:, :2]) / scale, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["shares"], fitted.explained_variance_ratio_[:2], rtol=1e-4)
    near = np.frombuffer(found["files"]["neighbors"], "<u4").reshape(COUNT, found["neighbors"])
    search = NearestNeighbors(n_neighbors=7).fit(scores)
    np.testing.assert_array_equal(near, search.kneighbors(scores)[1][:, 1:])
    names = json.loads(found["files"]["names"])
    assert names == [f"{index:02d}.png" for index in range(COUNT)]


def test_thumbnails_are_the_images_in_order(page: Page, folder: Path) -> None:
    found = page.wait_for("thumbnails")
    assert (found["first"], found["count"]) == (0, COUNT)
    sheet = pixels(found["files"]["sheet"])
    for index in range(COUNT):
        row, column = divmod(index, 20)
        tile = sheet[SIDE * row : SIDE * (row + 1), SIDE * column : SIDE * (column + 1)]
        with Image.open(folder / "images" / f"{index:02d}.png") as image:
            wanted = np.array(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(tile - wanted).mean() < 8  # JPEG of noise; two images differ by far more


def test_an_image_that_is_picked_is_explored(page: Page, folder: Path) -> None:
    page.wait_for("scene")
    page.say("pick", number=17)
    scene = page.wait_for("scene")
    assert scene["scene"]["image"]["name"] == "17"
    with Image.open(folder / "images" / "17.png") as image:
        np.testing.assert_array_equal(pixels(scene["files"]["0/image"]), np.array(image))
    page.say("pick", number=COUNT)
    assert f"0 to {COUNT - 1}" in page.wait_for("problem")["text"]


def test_without_images_latents_are_previewed_and_decoded(folder: Path) -> None:
    vae = latentlab.load_vae("linear")
    with explore(vae, folder / "store", **HOW) as explorer, page_of(explorer) as page:
        sheet = pixels(page.wait_for("thumbnails")["files"]["sheet"])
        page.say("pick", number=3)
        scene = page.wait_for("scene", timeout=60)
        while scene["scene"]["image"]["name"] != "03-decoded":
            scene = page.wait_for("scene")
        assert next(one for one in page.heard if one["type"] == "map")["previews"] is True
    with Image.open(folder / "images" / "03.png") as image:
        color = np.array(image).mean((0, 1))
    tile = sheet[:SIDE, 3 * SIDE : 4 * SIDE].mean((0, 1))
    np.testing.assert_allclose(tile, color, atol=25)


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    vae = latentlab.load_vae("linear")
    with pytest.raises(UsageError, match="a store"):
        explore(vae, "sample:flower", images=folder / "images", **HOW)
    other = latentlab.wrap_vae(
        encode=lambda images: images, decode=lambda latents: latents, name="identity"
    )
    with pytest.raises(UsageError, match="16 channels"):
        explore(other, folder / "store", **HOW)


def test_neighbors_are_those_of_scikit_learn() -> None:
    points = np.random.default_rng(1).normal(size=(2500, 5))
    found = nearest(torch.from_numpy(points), 4)
    wanted = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(points)[1][:, 1:]
    np.testing.assert_array_equal(found, wanted)
    assert nearest(torch.zeros(1, 3)).shape == (1, 0)


def test_thumbnails_are_centered_squares() -> None:
    array = np.zeros((60, 180, 3), np.uint8)
    array[:, 60:120] = 255
    from explorer_client import png_of

    assert (thumbnail(png_of(array), "wide") == 255).mean() > 0.95


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with five upright and three wide images, and their store."""
    root = tmp_path_factory.mktemp("mixed")
    (root / "images").mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        array = rng.integers(0, 256, (64, 32, 3) if index % 3 else (32, 64, 3), np.uint8)
        Image.fromarray(array).save(root / "images" / f"{index}.png")
    vae = latentlab.load_vae("linear")
    latentlab.encode_folder(vae, root / "images", root / "store", size="native", workers=0)
    return root


def test_of_several_shapes_the_commonest_is_shown_and_that_is_said(mixed: Path) -> None:
    vae = latentlab.load_vae("linear")
    with pytest.warns(UserWarning, match=r"5 latents of shape 16×8×4.* 3 of other shapes"):
        running = explore(vae, mixed / "store", images=mixed / "images", **HOW)
    with running as explorer, page_of(explorer) as page:
        found = page.wait_for("map")
        assert (found["count"], found["other_shapes"], found["shape"]) == (5, 3, [16, 8, 4])
        names = json.loads(found["files"]["names"])
        assert names == ["1.png", "2.png", "4.png", "5.png", "7.png"]
        page.say("pick", number=4)
        while (scene := page.wait_for("scene"))["scene"]["image"]["name"] != "7":
            pass
        assert scene["scene"]["models"][0]["size"] == [32, 64]


def test_images_of_a_store_have_the_size_that_is_asked_for(mixed: Path) -> None:
    vae = latentlab.load_vae("linear")
    store = latentlab.open_store(mixed / "store").bucket("16x8x4")
    how = {**HOW, "size": 16, "images": mixed / "images"}
    with explore(vae, store, **how) as explorer, page_of(explorer) as page:
        assert page.wait_for("scene")["scene"]["models"][0]["size"] == [16, 16]
        page.say("pick", number=2)
        while (scene := page.wait_for("scene"))["scene"]["image"]["name"] != "4":
            pass
        assert scene["scene"]["models"][0]["size"] == [16, 16]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_and_equal_ones_have_a_place(tmp_path: Path, count: int) -> None:
    (tmp_path / "images").mkdir()
    for index in range(count):
        Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "images" / f"{index}.png")
    vae = latentlab.load_vae("linear")
    latentlab.encode_folder(vae, tmp_path / "images", tmp_path / "store", workers=0)
    with explore(vae, tmp_path / "store", **HOW) as explorer, page_of(explorer) as page:
        found = page.wait_for("map", timeout=20)
        assert np.isfinite(np.frombuffer(found["files"]["places"], "<f4")).all()
        assert len(found["files"]["places"]) == 8 * count
