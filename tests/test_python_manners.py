"""What people try first in Python works, or is answered with the name of what does."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from sklearn import decomposition

import latentlab
from latentlab.arguments import _CALLED
from latentlab.errors import (
    ArgumentError,
    FileError,
    ImageError,
    LatentlabError,
    MissingExtraError,
    ShapeError,
    UsageError,
)
from latentlab.latents import Latent
from latentlab.loaders.base import LatentVAE
from latentlab.results.provenance import recorded_model
from latentlab.store.reading import Store
from latentlab.testing.linear_vae import LinearVAE, smooth_image


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) * torch.logspace(0, -1.5, d)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99, 0.999999])
@pytest.mark.parametrize(("n", "d"), [(40, 12), (30, 200), (300, 150)])
def test_a_share_keeps_as_many_components_as_in_scikit_learn(n: int, d: int, share: float) -> None:
    matrix = rows(n, d)
    theirs = decomposition.PCA(n_components=share, svd_solver="full").fit(matrix.double().numpy())
    ours = latentlab.fit_pca(matrix, n_components=share)
    assert len(ours.components) == theirs.n_components_
    np.testing.assert_allclose(
        ours.explained_variance_ratio, theirs.explained_variance_ratio_, rtol=1e-6
    )
    if len(ours.components) <= 64:  # of rows that are read once, no more are kept
        chunks = latentlab.fit_pca(iter(matrix.split(9)), n_components=share)
        assert len(chunks.components) == theirs.n_components_


@pytest.mark.parametrize("count", [0.0, 1.0, 1.5, -0.5, True, "mle", float("nan")])
def test_other_numbers_of_components_are_refused_with_both_ways(count: object) -> None:
    with pytest.raises(UsageError, match=r"n_components=5 .*n_components=0\.9"):
        latentlab.fit_pca(rows(20, 5), n_components=count)  # type: ignore[arg-type]


def test_a_share_that_some_eigenvalues_do_not_reach_is_refused() -> None:
    flat = torch.randn(400, 300, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UsageError, match="exact"):
        latentlab.fit_pca(flat, n_components=0.99, solver="randomized")
    with pytest.raises(ShapeError, match="n_components="):
        latentlab.fit_pca(iter(flat.split(100)), n_components=0.99)


@pytest.mark.parametrize(
    ("guess", "meant"),
    [
        ({"random_state": 0}, "seed=0"),
        ({"samples": 8}, "n_samples=64"),
        ({"num_samples": 8}, "n_samples=64"),
        ({"n_components": 3}, "n_components=8"),
        ({"size": 64}, "size=256"),
        ({"rotaton": 3}, "did you mean rotation"),
    ],
)
def test_guesses_are_not_taken_for_settings(guess: dict[str, object], meant: str) -> None:
    vae = LinearVAE()
    latent = latentlab.encode(vae, "sample:flower", 32)
    with pytest.raises(ArgumentError, match="(?i)" + meant):
        latentlab.neighborhood(vae, latent, "augment", **guess)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "guess", "meant"),
    [
        ("fit_pca", "k", "n_components=8"),
        ("fit_pca", "n_component", "did you mean n_components"),
        ("fit_pca", "svd_solver", 'solver="randomized"'),
        ("fit_pca", "random_state", "seed=0"),
        ("fit_pca", "n_iter", "six passes"),
        ("fit_pca", "whiten", "explained_variance.sqrt"),
        ("fit_pca", "num_samples", "n_samples=64 (--samples 64) to latentlab.neighborhood"),
        ("load_vae", "torch_dtype", 'dtype="bfloat16"'),
        ("load_vae", "device_map", 'device="cuda"'),
        ("load_vae", "local_files_only", "offline=True"),
        ("load_vae", "subfolder", "owner/name:subfolder"),
        ("load_vae", "token", "HF_TOKEN"),
        ("load_vae", "nonsense", "remove or correct it"),
        ("encode", "resolution", "size=256"),
        ("encode", "dtype", "to latentlab.load_vae"),
        ("encode", "batch_size", "for the memory there is"),
        ("encode_folder", "batch_size", "batch=8"),
        ("encode_folder", "num_workers", "workers=2"),
        ("traverse", "n_steps", "steps=16"),
        ("traverse", "frames", "steps=16"),
        ("interpolate", "mode", 'path="slerp"'),
        ("judge", "null_model", 'nulls=["parallel"]'),
        ("analyze", "output_dir", 'folder="run"'),
        ("analyze", "verbose", "progress=print"),
    ],
)
def test_guesses_are_answered_with_our_names(name: str, guess: str, meant: str) -> None:
    message = "(?i)" + re.escape(f"argument {guess!r} for latentlab.{name}") + ".*"
    with pytest.raises(ArgumentError, match=message + re.escape(meant)) as raised:
        getattr(latentlab, name)(**{guess: 1})
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, UsageError)


def test_saving_answers_guesses_too(tmp_path: Path) -> None:
    pca = latentlab.fit_pca(rows(9, 4))
    with pytest.raises(ArgumentError, match=r"'format' for latentlab\.save of PCA.*figure_format"):
        latentlab.save(pca, tmp_path, format="svg")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", latentlab.__all__)
def test_public_names_stay_what_they_are(name: str) -> None:
    found = getattr(latentlab, name)
    assert found is getattr(latentlab, name)
    assert pickle.loads(pickle.dumps(found)) is found
    if not isinstance(found, type):
        inner = inspect.unwrap(found)
        assert inspect.signature(found) == inspect.signature(inner)
        assert found.__doc__ == inner.__doc__


def test_every_name_that_is_advised_exists() -> None:
    taken: set[str] = set()
    for name in latentlab.__all__:
        taken |= {*inspect.signature(getattr(latentlab, name)).parameters}
    assert taken | {"fps"} >= set(_CALLED)
    for own, (others, example, where) in _CALLED.items():
        assert example.startswith(f"{own}=")
        assert own not in others.split()
        for function in where.removeprefix("latentlab.").replace(" or ", ", ").split(", "):
            assert not function or own in signature_of(function), (own, function)


def signature_of(name: str) -> set[str]:
    names = {*inspect.signature(getattr(latentlab, name)).parameters}
    return names | {"fps", "folder"} if name == "save" else names


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store of five images of two shapes, one of which cannot be read."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(6):
        image = Pillow.new("RGB", (32 + 8 * (index % 2), 32), (40 * index, 99, 7))
        image.save(photos / f"{index}.png")
    (photos / "2.png").write_bytes(b"no image")
    how = {"workers": 0, "per_shard": 2, "store_dtype": "float32"}
    latentlab.encode_folder(LinearVAE(), photos, tmp_path / "store", **how)
    return latentlab.open_store(tmp_path / "store")


def test_a_store_is_a_sequence_of_latents(store: Store, tmp_path: Path) -> None:
    vae, paths = LinearVAE(), [*store.paths()]
    assert len(store) == len([*store]) == 5
    for number, latent in enumerate(store):
        expected = latentlab.encode(vae, tmp_path / "photos" / paths[number]).values
        for found in (latent, store[number], store[number - 5]):
            assert isinstance(found, Latent)
            torch.testing.assert_close(found.values, expected)
            assert found.name == Path(paths[number]).stem
        assert store.index(paths[number]) == number
    for wrong in (5, -6):
        with pytest.raises(IndexError, match="0 to 4"):
            store[wrong]
    with pytest.raises(FileError, match="inside the folder"):
        store.index("nowhere.png")


@pytest.mark.parametrize(
    "chosen", [slice(2, 5), slice(None), slice(None, None, -2), slice(4, 1), slice(-2, 99)]
)
def test_slices_of_a_store_are_those_of_a_list(store: Store, chosen: slice) -> None:
    expected = [*store][chosen]
    found = store[chosen]
    assert [latent.name for latent in found] == [latent.name for latent in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.values, theirs.values)


def test_one_latent_costs_one_index_and_no_other_head(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    opened = Path.open

    def noting(path: Path, *args: object, **kwargs: object) -> object:
        read.append(path.name)
        return opened(path, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", noting)
    assert store[4].name == "5"
    assert read == ["latents-00002.jsonl"]


def test_a_store_is_a_table(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = store.to_frame()
    assert [*frame.columns] == [
        *("path", "number", "shard", "row", "channels", "height", "width", "size", "sha256"),
        "skipped",
    ]
    assert [*frame.path] == [f"{index}.png" for index in range(6)]
    lost = frame[frame.skipped.notna()]
    assert [*lost.path] == ["2.png"]
    assert isinstance(lost.skipped.iloc[0], str)
    assert lost[["number", "row", "channels", "sha256"]].isna().all(axis=None)
    kept = frame[frame.skipped.isna()]
    for row in kept.itertuples():
        latent = store[row.number]
        assert latent.name == Path(row.path).stem
        assert latent.values.shape == (row.channels, row.height, row.width)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        store.to_frame()


def test_a_table_takes_names_that_are_not_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Pillow.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    latentlab.encode_folder(LinearVAE(), tmp_path, tmp_path / "store", workers=0)
    assert [*latentlab.open_store(tmp_path / "store").to_frame().path] == [name]


def test_a_latent_of_a_store_can_be_walked_from(store: Store) -> None:
    vae = LinearVAE()
    hood = latentlab.neighborhood(vae, store[0], "gaussian", n_samples=8)
    walk = latentlab.traverse(vae, store[0], latentlab.fit_pca(hood), n_components=1, steps=3)
    assert len(walk.paths) == 1


def test_the_version_and_the_first_page_of_the_manual() -> None:
    assert latentlab.__version__.count(".") == 2
    manual = latentlab.__doc__ or ""
    for name in latentlab.__all__:
        assert f"``{name}``" in manual, name


def test_errors_of_a_store_are_ours_too(store: Store) -> None:
    with pytest.raises(LatentlabError):
        store[99]
    with pytest.raises(TypeError, match=r"Write store\[store\.index\('3\.png'\)\]"):
        store["3.png"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (("mini", "photo.jpg"), r"Pass latentlab\.load_vae\('mini'\)\.$"),
        (("photo.jpg", LinearVAE()), "Got a str before the model.* Write the model first"),
        ((torch.nn.Linear(2, 2), "photo.jpg"), "Got a Linear, .*latentlab.wrap_vae"),
        ((None, "photo.jpg"), "Got a NoneType"),
    ],
)
@pytest.mark.parametrize("name", ["encode", "analyze", "encode_folder", "traverse", "explore"])
def test_what_is_no_model_is_answered_with_how_to_get_one(
    name: str, given: tuple[object, ...], answer: str
) -> None:
    with pytest.raises(ArgumentError, match=answer):
        getattr(latentlab, name)(*given)
    with pytest.raises(ArgumentError, match=r"latentlab\.load_vae"):
        latentlab.encode(vae="mini", image="photo.jpg")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("guess", "meant"),
    [("pca", "fit_pca"), ("load_model", "load_vae"), ("reconstuct", "reconstruct")],
)
def test_a_name_that_does_not_exist_is_answered_with_one_that_does(guess: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"'{guess}': did you mean {meant}\\?$"):
        getattr(latentlab, guess)
    assert not hasattr(latentlab, "__nonsense__")


def test_one_of_something_is_told_in_the_singular_and_questions_end_once() -> None:
    vae = LinearVAE()
    latent = latentlab.encode(vae, "sample:flower", 32)
    hood = latentlab.neighborhood(vae, latent, "gaussian", n_samples=4)
    walk = latentlab.traverse(vae, latent, latentlab.fit_pca(hood), n_components=1, steps=3)
    assert repr(walk).endswith(": 1 direction × 3 steps)")
    found = latentlab.find_directions(vae, hood, n_components=2)
    assert repr(found) == "Directions(2 by pca: PC 1, PC 2)"
    with pytest.raises(ArgumentError, match=r"Did you mean rotation\?$"):
        latentlab.neighborhood(vae, latent, "augment", rotaton=2)


def test_a_batch_and_a_url_are_answered_with_the_users_own_value() -> None:
    vae = LinearVAE()
    batch = torch.zeros(1, vae.spec.channels, 4, 4)
    with pytest.raises(ShapeError, match=r"shape \(1, \d+, 4, 4\).* Pass one latent"):
        latentlab.decode(vae, batch)
    with pytest.raises(ImageError, match=r"Got https://x\.org/a\.jpg, a URL.* Download it first"):
        latentlab.encode(vae, "https://x.org/a.jpg")


def latents_of(vae: LatentVAE, count: int = 12) -> torch.Tensor:
    images = (smooth_image(seed=seed) for seed in range(count))
    return torch.stack([latentlab.encode(vae, image).values for image in images])


@pytest.mark.parametrize("kind", ["tensor", "array", "read-only", "latents"])
def test_latents_are_fitted_as_scikit_learn_fits_them(kind: str) -> None:
    vae = LinearVAE()
    latents = latents_of(vae)
    given: Any = latents
    if kind != "tensor":
        given = latents.numpy().copy()
        given.flags.writeable = kind != "read-only"
    if kind == "latents":
        given = [latentlab.Latent(values, vae.spec) for values in latents]
    ours = latentlab.fit_pca(given, n_components=3, vae=None if kind == "latents" else vae)
    flat = latents.flatten(1).double().numpy()
    theirs = decomposition.PCA(n_components=3, svd_solver="full").fit(flat)
    np.testing.assert_allclose(ours.explained_variance, theirs.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(ours.mean, theirs.mean_, atol=1e-6)
    cosines = (ours.components.double().numpy() * theirs.components_).sum(1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-6)
    scores = np.abs(ours.transform(given).numpy())
    np.testing.assert_allclose(scores, np.abs(theirs.transform(flat)), atol=1e-5)
    np.testing.assert_allclose(ours.center.values.flatten(), theirs.mean_, atol=1e-6)


def test_the_pca_of_latents_is_saved_loaded_and_walked(tmp_path: Path) -> None:
    vae = LinearVAE()
    pca = latentlab.fit_pca(latents_of(vae), vae=vae)
    latentlab.save(pca, tmp_path)
    again = latentlab.load(tmp_path)
    assert isinstance(again, latentlab.PCA)
    assert torch.equal(again.components, pca.components)
    assert torch.equal(again.center.values, pca.center.values)
    assert again.title == pca.title
    assert "mean of 12 latents · linear" in pca.title
    assert recorded_model(tmp_path)["source"] == vae.origin.source
    walks = [latentlab.traverse(vae, one.center, one, n_components=2) for one in (pca, again)]
    for path, same in zip(walks[0].paths, walks[1].paths, strict=True):
        assert torch.equal(path.frames, same.frames)


def test_what_can_be_fitted_can_be_judged() -> None:
    vae = LinearVAE()
    latents = latents_of(vae)
    pca = latentlab.fit_pca(latents, vae=vae)
    expected = latentlab.judge(latents.flatten(1), pca)
    same = [latentlab.Latent(values, vae.spec) for values in latents]
    for samples in (latents, latents.numpy(), same, latents.flatten(1).numpy()):
        found = latentlab.judge(samples, pca)
        assert found.verdict == expected.verdict
        assert found.components_above == expected.components_above


def test_latents_that_do_not_fit_are_refused() -> None:
    vae = LinearVAE()
    latents = latents_of(vae, 3)
    with pytest.raises(ShapeError, match=r"vae=vae"):
        latentlab.fit_pca(latents)
    with pytest.raises(ShapeError, match=r"\(N, 6, h, w\) for linear"):
        latentlab.fit_pca(latents.movedim(1, 3), vae=vae)
    with pytest.raises(ShapeError, match="same model and size"):
        latentlab.fit_pca([latentlab.Latent(latents[0, :, :k], vae.spec) for k in (4, 5)])
    with pytest.raises(UsageError, match="Leave vae out"):
        latentlab.fit_pca(latents.flatten(1), vae=vae)
    with pytest.raises(ShapeError, match=r"\(n, 6, 8, 10\)"):
        latentlab.fit_pca(latents, vae=vae).transform(latents[..., :5])
    with pytest.raises(ShapeError, match="at least two"):
        latentlab.fit_pca(latents[:1], vae=vae)


def test_every_function_that_takes_an_array_takes_its_range(tmp_path: Path) -> None:
    vae, pixels = LinearVAE(), smooth_image()
    unit = (pixels + 1) / 2
    expected = latentlab.encode(vae, pixels).values
    how: dict[str, Any] = {"value_range": (0, 1)}
    small: dict[str, Any] = {**how, "n_samples": 8, "neighborhood": "gaussian", "size": "native"}
    latents = [
        latentlab.encode(vae, unit, **how),
        latentlab.reconstruct(vae, unit, **how).latent,
        latentlab.analyze(vae, unit, **small, nulls=(), folder=tmp_path / "a").pca.center,
        latentlab.analyze_directions(
            vae, unit, **small, labels=False, compare=(), folder=tmp_path / "b"
        ).latent,
    ]
    for latent in latents:
        torch.testing.assert_close(latent.values, expected, atol=1e-5, rtol=0)
        assert latent.record["input"]["preprocessing"].startswith("values from 0 to 1")
