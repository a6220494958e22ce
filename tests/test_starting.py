"""Walks and searches start from objects, stores, saved results and their folders alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from sklearn import decomposition

import latentlab
from latentlab.components.stores import store_neighborhood
from latentlab.encoding.recalling import with_image
from latentlab.errors import FileError, ImageError, ShapeError, UsageError
from latentlab.images.fit import Fit
from latentlab.images.reading import read_image
from latentlab.latents import Directions, Latent, Neighborhood
from latentlab.neighborhoods.given import given_neighborhood
from latentlab.store.reading import Store
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.walks.traversal import Traversal

VAE = LinearVAE()


@pytest.fixture(scope="module")
def latent() -> Latent:
    return latentlab.encode(VAE, smooth_image())


@pytest.fixture(scope="module")
def hood(latent: Latent) -> Neighborhood:
    return latentlab.neighborhood(VAE, latent, "gaussian", n_samples=12, seed=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    place = tmp_path_factory.mktemp("start")
    (place / "photos").mkdir()
    for index in range(7):
        levels = ((smooth_image(seed=index) + 1) * 127.5).byte().movedim(0, -1).numpy()
        Pillow.fromarray(levels).save(place / f"photos/{index}.png")
    how: dict[str, Any] = {"workers": 0, "per_shard": 3, "store_dtype": "float32"}
    latentlab.encode_folder(VAE, place / "photos", place / "store", **how)
    return latentlab.open_store(place / "store")


def same_walk(first: Traversal, second: Traversal) -> bool:
    pairs = zip(first.paths, second.paths, strict=True)
    return first.title == second.title and all(
        torch.equal(a.frames, b.frames) and a.scores == b.scores for a, b in pairs
    )


def same_directions(first: Directions, second: Directions) -> bool:
    arrays = ("vectors", "deviations", "shares", "rows", "strengths")
    return first.labels == second.labels and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in arrays
    )


def walk(*start: Any) -> Traversal:
    return latentlab.traverse(VAE, *start, steps=3)


@pytest.mark.parametrize("kind", ["pca", "directions"])
def test_a_walk_from_what_was_saved_is_the_walk_from_the_object(
    kind: str, latent: Latent, hood: Neighborhood, tmp_path: Path
) -> None:
    found: Any = latentlab.fit_pca(hood)
    if kind == "directions":
        found = latentlab.find_directions(VAE, latent, hood, 3, finder="random")
    latentlab.save(found, tmp_path)
    expected = walk(latent, found)
    assert len(expected.paths) == (5 if kind == "pca" else 3)
    for start in (found, latentlab.load(tmp_path), tmp_path, str(tmp_path)):
        assert same_walk(walk(start), expected)
        assert same_walk(walk(latent, start), expected)
    if kind == "pca":
        assert same_walk(walk(hood), expected)


def test_a_walk_through_a_store_starts_at_its_mean_or_at_any_latent(
    store: Store, tmp_path: Path
) -> None:
    flat = np.stack([latent.values.flatten().double().numpy() for latent in store])
    theirs = decomposition.PCA(svd_solver="full").fit(flat)
    pca = latentlab.fit_pca(store)
    np.testing.assert_allclose(pca.center.values.flatten(), theirs.mean_, atol=1e-6)
    latentlab.save(pca, tmp_path / "saved")
    latentlab.analyze_store(store.folder, folder=tmp_path / "run")
    expected = walk(pca.center, pca)
    for start in (store, store.folder, str(store.folder), pca, tmp_path / "saved"):
        assert same_walk(walk(start), expected)
    assert same_walk(walk(tmp_path / "run"), expected)
    assert same_walk(walk(store, pca), expected)
    assert same_walk(walk(store[2], store), walk(store[2], pca))
    assert "2 · linear" in walk(store[2], store).title


SAMPLERS: list[Any] = [
    ("gaussian", {"n_samples": 9, "radius": 0.3}),
    ("posterior", {"n_samples": 9, "seed": 5}),
    pytest.param("tokens", {}, marks=pytest.mark.slow),
    ("tokens", {"n_samples": 20, "seed": 2}),
    pytest.param("patches", {"region": (0, 0, 24, 24)}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "how"), SAMPLERS)
def test_a_search_from_what_was_saved_finds_what_the_object_finds(
    name: str, how: dict[str, Any], latent: Latent, tmp_path: Path
) -> None:
    hood = latentlab.neighborhood(VAE, latent, name, **how)
    pca = latentlab.fit_pca(hood)
    found = latentlab.find_directions(VAE, latent, hood, 2, finder="ica", seed=1)
    for result, folder in ((pca, tmp_path / "pca"), (found, tmp_path / "directions")):
        latentlab.save(result, folder)
        loaded = latentlab.load(folder)
        for start in (hood, result, loaded, folder):
            again = latentlab.find_directions(VAE, start, None, 2, finder="ica", seed=1)
            assert same_directions(again, found)
            assert torch.equal(again.sampling.known_origin().values, latent.values)


def test_an_image_is_needed_where_it_is_changed_and_can_be_passed(
    latent: Latent, tmp_path: Path
) -> None:
    hood = latentlab.neighborhood(VAE, latent, "augment", n_samples=9)
    pca = latentlab.fit_pca(hood)
    latentlab.save(pca, tmp_path)
    expected = latentlab.find_directions(VAE, latent, hood, 2)
    assert same_directions(latentlab.find_directions(VAE, pca, n_components=2), expected)
    for start in (tmp_path, latentlab.load(tmp_path)):
        assert same_directions(latentlab.find_directions(VAE, latent, start, 2), expected)
        with pytest.raises(ImageError, match=r"latentlab\.encode\(vae, image\)"):
            latentlab.find_directions(VAE, start)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "size"),
    [("augment", 32), ("augment", "native"), ("crops", (24, 40)), ("reencode", "auto")],
)
def test_the_image_of_a_run_is_read_again(name: str, size: Any, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Pillow.fromarray(noise).save(path)
    how: dict[str, Any] = {"neighborhood": name, "n_samples": 6, "nulls": (), "dtype": "float32"}
    run = latentlab.analyze(VAE, path, size=size, folder=tmp_path / "run", **how)
    assert run.neighborhood is not None
    expected = latentlab.find_directions(VAE, run.neighborhood, n_components=2, finder="random")
    for start in (run.folder, latentlab.load(run.folder)):
        found = latentlab.find_directions(VAE, start, n_components=2, finder="random")  # type: ignore[arg-type]
        assert same_directions(found, expected)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ImageError, match="differs from the image that was encoded"):
        latentlab.find_directions(VAE, run.folder)
    path.unlink()
    with pytest.raises(ImageError, match="does not exist"):
        latentlab.find_directions(VAE, run.folder)


@pytest.mark.parametrize(
    "facts",
    [
        {"path": "sample:flower", "fit": None},
        {"path": "sample:flower", "fit": {"multiple": "x", "shape": None, "longest": None}},
        {"path": "sample:flower", "fit": {"multiple": 4, "shape": [1, 2, 3], "longest": None}},
        {"path": None, "fit": {}},
        {"fit": 3},
    ],
)
def test_damaged_records_of_an_image_are_refused(latent: Latent, facts: dict[str, Any]) -> None:
    alone = replace(latent, image=None, record={"input": facts})
    with pytest.raises(ImageError, match="without the file of its image"):
        with_image(alone)


def test_an_image_that_was_fitted_twice_has_no_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Pillow.new("RGB", (64, 48), (9, 99, 200)).save(path)
    once = read_image(path, size=32)
    assert (once.path, once.fit) == (str(path), Fit(1, (32, 32)))
    assert read_image(once, multiple=16).path == str(path)
    twice = read_image(once, size=16)
    assert (twice.path, twice.fit) == ("", None)
    assert read_image("sample:flower").path == "sample:flower"


def test_another_latent_is_sampled_as_the_result_was(hood: Neighborhood, tmp_path: Path) -> None:
    latentlab.save(latentlab.fit_pca(hood), tmp_path)
    other = latentlab.encode(VAE, smooth_image(seed=9))
    around = latentlab.neighborhood(VAE, other, "gaussian", n_samples=12, seed=3)
    expected = latentlab.find_directions(VAE, other, around, 2)
    assert same_directions(latentlab.find_directions(VAE, other, tmp_path, 2), expected)


def test_latents_are_a_start_too(store: Store) -> None:
    latents = store[1:6]
    values = torch.stack([latent.values for latent in latents])
    pca = latentlab.fit_pca(values, vae=VAE)
    expected = latentlab.find_directions(VAE, given_neighborhood(values, VAE), n_components=2)
    for start in (latents, values):
        assert same_walk(walk(start), walk(pca))
        found = latentlab.find_directions(VAE, start, n_components=2)
        assert same_directions(found, expected)


@pytest.mark.parametrize("parts", ["whole", "tokens"])
def test_a_search_in_a_store_looks_at_its_rows(parts: str, store: Store, tmp_path: Path) -> None:
    rows = store_neighborhood(store, parts)
    values = torch.stack([latent.values for latent in store])
    flat = values.flatten(1) if parts == "whole" else values.movedim(1, -1).reshape(-1, 6)
    assert torch.equal(rows.samples, flat)
    expected = latentlab.find_directions(VAE, rows, n_components=2, finder="random")
    analysis = latentlab.analyze_store(store.folder, parts=parts, folder=tmp_path)
    assert analysis is not None
    starts: list[Any] = [rows, analysis.pca, tmp_path, latentlab.load(tmp_path)]
    starts += [store, store.folder] if parts == "whole" else []
    for start in starts:
        found = latentlab.find_directions(VAE, start, n_components=2, finder="random")
        assert same_directions(found, expected)


def test_a_store_that_has_changed_is_not_taken_for_the_one_analyzed(
    store: Store, tmp_path: Path
) -> None:
    pca = latentlab.fit_pca(store)
    record = dict(pca.center.record)
    record["input"] = {**record["input"], "list_sha256": "0" * 64}
    moved = replace(pca, sampling=replace(pca.sampling, origin=replace(pca.center, record=record)))
    with pytest.raises(FileError, match="other images"):
        latentlab.find_directions(VAE, moved)


def test_directions_are_analyzed_from_a_store_a_result_and_a_folder(
    store: Store, hood: Neighborhood, tmp_path: Path
) -> None:
    latentlab.save(latentlab.fit_pca(hood), tmp_path / "run")
    how: dict[str, Any] = {"finder": "random", "n_components": 2, "compare": ()}
    for index, start in enumerate((store, str(store.folder), hood, str(tmp_path / "run"))):
        folder = tmp_path / str(index)
        found = latentlab.analyze_directions(VAE, start, folder=folder, **how)
        assert found.saved is not None
        assert (folder / "sheet.png").is_file()
        assert len(found.labels) == 2
        assert same_directions(latentlab.load(folder), found.directions)
        with pytest.raises(UsageError, match="n_samples=9 with a store or an earlier result"):
            latentlab.analyze_directions(VAE, start, n_samples=9, folder=folder, **how)
    record = latentlab.load(tmp_path / "0").sampling.known_origin().record  # type: ignore[union-attr]
    assert record["input"]["store"] == str(store.folder.resolve())


def test_a_latent_can_be_analyzed(latent: Latent, tmp_path: Path) -> None:
    how: dict[str, Any] = {"neighborhood": "gaussian", "n_samples": 9}
    first = latentlab.analyze(VAE, latent, **how, nulls=(), folder=tmp_path / "a")
    expected = latentlab.fit_pca(latentlab.neighborhood(VAE, latent, "gaussian", n_samples=9))
    assert torch.equal(first.pca.components, expected.components)
    found = latentlab.analyze_directions(VAE, latent, **how, labels=False, folder=tmp_path / "b")
    assert torch.equal(found.latent.values, latent.values)


def test_what_no_walk_or_search_can_start_from_is_refused(
    latent: Latent, hood: Neighborhood, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="PCA or Directions beside the latent"):
        walk(latent)
    with pytest.raises(UsageError, match=r"latentlab\.neighborhood\(vae, z\)"):
        latentlab.find_directions(VAE, latent)
    for start in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileError, match=r"pca\.json or directions\.json"):
            walk(start)
    with pytest.raises(UsageError, match="a Latent, Neighborhood, PCA"):
        walk(3)
    matrix = latentlab.fit_pca(torch.eye(5))
    for attempt in (walk, lambda start: latentlab.find_directions(VAE, start)):
        with pytest.raises(UsageError, match="vae=vae"):
            attempt(matrix)
    given = latentlab.fit_pca([latent, latentlab.encode(VAE, smooth_image(seed=1))])
    with pytest.raises(UsageError, match="Pass the samples themselves instead"):
        latentlab.find_directions(VAE, given)
    with pytest.raises(ShapeError, match="n_components=6"):
        latentlab.traverse(VAE, latent, latentlab.fit_pca(hood, 4), n_components=6)


def test_other_weights_are_noticed(hood: Neighborhood) -> None:
    vae = LinearVAE()
    vae.origin = replace(vae.origin, sha256={"vae.safetensors": "a" * 64})
    pca = latentlab.fit_pca(hood)
    latentlab.traverse(vae, pca, steps=3)  # nothing is known about the model of these samples
    record = {"model": {"sha256": {"vae.safetensors": "b" * 64}}}
    origin = replace(pca.center, record=record)
    other = replace(pca, sampling=replace(pca.sampling, origin=origin))
    with pytest.warns(UserWarning, match="linear has other weights"):
        latentlab.traverse(vae, other, steps=3)
    with pytest.warns(UserWarning, match="linear has other weights"):
        latentlab.find_directions(vae, other)
