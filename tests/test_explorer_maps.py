"""The explorer's map of a store: places, neighbors, thumbnails, and the way to one image."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from explorer_client import Page, page_of, pixels
from PIL import Image
from scipy import stats
from sklearn import decomposition, manifold
from sklearn.neighbors import NearestNeighbors

import latentlab
from latentlab.errors import UsageError
from latentlab.examinations.latents import examine_droplets, examine_outliers
from latentlab.examinations.places import examine_places
from latentlab.examinations.reconstruction import (
    examine_color,
    examine_lattice,
    examine_sharpness,
)
from latentlab.explorer.colorings import colorings_of
from latentlab.explorer.comparisons import COMPARISONS, Comparer, compare
from latentlab.explorer.maps import StoreMap, nearest
from latentlab.explorer.opening import Explorer, explore
from latentlab.explorer.thumbnails import SIDE, thumbnail
from latentlab.linalg import embedding
from latentlab.store.opening import open_source

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
    np.testing.assert_allclose(found["shares"], fitted.explained_variance_ratio_, rtol=1e-4)
    assert (found["method"], found["components"]) == ("pca", 16)
    near = np.frombuffer(found["files"]["neighbors"], "<u4").reshape(COUNT, found["neighbors"])
    search = NearestNeighbors(n_neighbors=7).fit(scores)
    np.testing.assert_array_equal(near, search.kneighbors(scores)[1][:, 1:])
    names = json.loads(found["files"]["names"])
    assert names == [f"{index:02d}.png" for index in range(COUNT)]


def test_tsne_places_a_sample_and_says_how(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedding.EMBEDDINGS, "tsne", 20)
    vae, images = latentlab.load_vae("linear"), folder / "images"
    running = explore(vae, folder / "store", images=images, map="tsne", seed=5, **HOW)
    with running as explorer, page_of(explorer) as page:
        found = page.wait_for("map")
        sheet = page.wait_for("thumbnails")
        page.say("pick", number=19)
        names = json.loads(found["files"]["names"])
        while (scene := page.wait_for("scene"))["scene"]["image"]["name"] != names[19][:2]:
            pass
    assert (found["count"], found["left_out"]) == (20, 10)
    assert (found["method"], found["seed"]) == ("tsne", 5)
    assert found["near"] == pytest.approx(19 / 3)
    numbers = [int(name[:2]) for name in names]
    assert numbers == sorted(numbers)
    assert numbers != [*range(20)]
    # Places are those of the images that are named: t-SNE of their scores by scikit-learn.
    scores = decomposition.PCA(16, svd_solver="full").fit(latents(folder))
    rows = scores.transform(latents(folder))[numbers]
    places = np.frombuffer(found["files"]["places"], "<f4").reshape(20, 2)
    assert manifold.trustworthiness(rows, places, n_neighbors=3) > 0.8
    tile = pixels(sheet["files"]["sheet"])[:SIDE, 7 * SIDE : 8 * SIDE]
    with Image.open(folder / "images" / names[7]) as image:
        np.testing.assert_allclose(tile.mean((0, 1)), np.array(image).mean((0, 1)), atol=3)
    picture = pixels(scene["files"]["0/image"])
    with Image.open(folder / "images" / names[19]) as image:
        np.testing.assert_array_equal(picture, np.array(image))


def test_a_page_asks_for_colors_which_are_numbers_of_each_latent(page: Page, folder: Path) -> None:
    offered = {one["name"]: one for one in page.wait_for("map")["colorings"]}
    rows = latents(folder)
    cells = rows.reshape(COUNT, 16, -1)
    wanted = {
        "mean": rows.mean(1),
        "std": rows.std(1, ddof=1),
        "largest": np.abs(rows).max(1),
        "kurtosis": stats.kurtosis(rows, axis=1),
        "mean-3": cells[:, 3].mean(1),
        "std-15": cells[:, 15].std(1, ddof=1),
        "finite": np.zeros(COUNT),
    }
    assert wanted.keys() <= offered.keys()
    for name, values in wanted.items():
        page.say("color", name=name)
        found = page.wait_for("colors", name=name)
        got = np.frombuffer(found["files"]["values"], "<f4")
        np.testing.assert_allclose(got, values, rtol=1e-4, atol=1e-5)
        assert found["label"] == offered[name]["label"]
    page.say("color", name="nonsense")
    assert "reload the page" in page.wait_for("problem")["text"].lower()
    assert page.wait_for("idle", errand="colors")


def test_findings_of_a_latent_are_those_of_the_doctor() -> None:
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(4, 9, 9, generator=generator)
    latent[:, 4, 4] = 40
    colorings = {one.name: one for one in colorings_of(4)}
    for name, examine in (("droplets", examine_droplets), ("outliers", examine_outliers)):
        finding = examine([latent], 8)
        measure = colorings[name].measure
        assert measure is not None
        assert measure(latent, 8) == finding.value
        assert colorings[name].threshold == finding.threshold
    values = latent.double().flatten(1).numpy()
    each = values.std(1, ddof=1)
    typical = np.sqrt(values.std(ddof=1) * stats.gmean(each))
    assert colorings["typical"].measure(latent, 8) == pytest.approx(typical)
    latent[0, 0, 0] = float("nan")
    assert colorings["finite"].measure(latent, 8) == 1
    assert np.isnan(colorings["droplets"].measure(latent, 8))
    assert np.isnan(colorings["typical"].measure(latent, 8))


def test_a_small_map_says_how_many_neighbors_umap_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def umap(**how: Any) -> Any:
        asked.update(how)
        return SimpleNamespace(fit_transform=lambda points: points[:, :2])

    monkeypatch.setattr(embedding, "find_spec", lambda name: name == "umap")
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=umap))
    store = latentlab.open_store(folder / "store")
    drawn = StoreMap(latentlab.load_vae("linear"), store, method="umap")
    scores = np.random.default_rng(0).normal(size=(20, 4))
    assert drawn._places(scores, lambda *_: None)[1]["near"] == asked["n_neighbors"] == 10


def test_maps_that_cannot_be_drawn_are_refused(folder: Path) -> None:
    vae = latentlab.load_vae("linear")
    with pytest.raises(UsageError, match="pca, tsne, umap"):
        explore(vae, folder / "store", map="mds", **HOW)
    with pytest.raises(UsageError, match="a store"):
        explore(vae, "sample:flower", map="tsne", **HOW)


def test_of_too_many_images_some_are_drawn_at_random(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentlab.explorer.maps._MOST", 12)
    store = latentlab.open_store(folder / "store")
    shown = [StoreMap(latentlab.load_vae("linear"), store, seed=seed) for seed in (0, 0, 1)]
    assert len(shown[0].paths) == 12
    assert shown[0].paths == shown[1].paths != shown[2].paths
    rows = torch.cat([block.flatten(1) for block in shown[2].latents()]).double().numpy()
    np.testing.assert_array_equal(rows, latents(folder)[[int(path[:2]) for path in shown[2].paths]])


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


def test_latents_are_taken_by_their_numbers_in_any_order(mixed: Path) -> None:
    store = latentlab.open_store(mixed / "store")
    shapes = [(16, 8, 4) if index % 3 else (16, 4, 8) for index in range(8)]
    assert [tuple(one.values.shape) for one in store.take([6, 1, 0])] == [
        shapes[index] for index in (6, 1, 0)
    ]
    tall = store.bucket((16, 8, 4))  # images 1, 2, 4, 5 and 7
    found = tall.take([4, 0, -1])
    for latent, index in zip(found, (7, 1, 7), strict=True):
        torch.testing.assert_close(latent.values, store[index].values, rtol=0, atol=0)
    assert store.take([]) == []
    with pytest.raises(IndexError):
        tall.take([5])


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


def test_findings_of_decoded_images_are_those_of_the_doctor() -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    decoded = (0.7 * image + 0.1).clamp(-1, 1)
    decoded[:, ::8, ::8] += 0.2
    pair = ([image], [decoded.clamp(-1, 1)])
    findings = (
        examine_lattice(*pair, 8),
        examine_color(*pair),
        *examine_sharpness(*pair),
        *examine_places(*pair, 8),
    )
    found = compare(image, decoded, 8)
    colorings = {one.name: one for one in COMPARISONS}
    for finding in findings:
        assert found[finding.name] == finding.value
        coloring = colorings[finding.name]
        assert coloring.threshold == pytest.approx(finding.threshold)
        assert finding.value is not None
        beyond = [finding.value < coloring.threshold, finding.value > coloring.threshold]
        assert beyond[not coloring.below] is finding.found
    error = float(((image - decoded.clamp(-1, 1)).double() ** 2).mean())
    assert found["psnr"] == pytest.approx(10 * np.log10(4 / error))
    assert found.keys() == colorings.keys()
    decoded[0, 0, 0] = float("nan")
    assert compare(image, decoded, 8) == {}


def test_images_are_decoded_when_a_page_asks_for_them(page: Page, folder: Path) -> None:
    offered = {one["name"]: one for one in page.wait_for("map")["colorings"]}
    assert offered["psnr"]["decodes"] is True
    vae = latentlab.load_vae("linear")

    def ask(*numbers: int) -> tuple[np.ndarray, int]:
        page.say("color", name="psnr", numbers=[*numbers])
        found = page.wait_for("colors", name="psnr")
        return np.frombuffer(found["files"]["values"], "<f4"), found["measured"]

    values, measured = ask(3, 20)
    assert measured == 2
    assert np.flatnonzero(~np.isnan(values)).tolist() == [3, 20]
    for number in (3, 20):
        with Image.open(folder / "images" / f"{number:02d}.png") as opened:
            image = np.asarray(opened) / 127.5 - 1
        z = latentlab.encode(vae, folder / "images" / f"{number:02d}.png", size=64)
        decoded = latentlab.decode(vae, z).clamp(-1, 1).permute(1, 2, 0).numpy()
        wanted = 10 * np.log10(4 / ((image - decoded) ** 2).mean())
        assert values[number] == pytest.approx(wanted, rel=1e-4)
    again, measured = ask(5, COUNT + 7)  # a number that is none is left out
    assert measured == 3
    assert np.flatnonzero(~np.isnan(again)).tolist() == [3, 5, 20]
    page.say("color", name="psnr", numbers=[*range(301)])
    assert "at most 300" in page.wait_for("problem")["text"]


def test_what_was_decoded_is_kept_when_the_work_is_stopped(folder: Path) -> None:
    vae, store = latentlab.load_vae("linear"), latentlab.open_store(folder / "store")
    comparer = Comparer(vae, store, open_source(folder / "images"))
    places = {number: (number, f"{number:02d}.png") for number in (4, 9, 1)}

    def stop(what: str, done: int, total: int) -> None:
        assert (what, total) == ("decoding images", 3)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comparer.measure(places, stop)
    assert comparer.measured() == [4, 9]
    values = comparer.values("psnr", COUNT)
    assert np.flatnonzero(~np.isnan(values)).tolist() == [4, 9]
    comparer.measure({0: (0, "missing.png")}, lambda *_: None)
    assert np.isnan(comparer.values("psnr", COUNT)[0])
