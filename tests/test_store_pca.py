"""PCA of whole stores, from the library and the command line, against NumPy."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine, save_image
from image_folders import make_folder, save_smooth
from test_cli_bad_input import refused

import latentlab
from latentlab import load_vae
from latentlab.components.fitting import fit_pca
from latentlab.components.stores import store_rows
from latentlab.errors import ShapeError, UsageError
from latentlab.recipes import stores
from latentlab.results.components import load_pca
from latentlab.store.filling import encode_folder
from latentlab.store.opening import is_store
from latentlab.store.reading import Store, open_store

IMAGES = 24


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return the latents of 24 images in five shards."""
    place = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    (place / "photos").mkdir()
    for number in range(IMAGES):
        height, width = (int(side) for side in generator.integers(40, 90, 2))
        save_image(place / "photos" / f"{number:03d}.png", height, width)
    encode_folder(
        load_vae("mini"), place / "photos", place / "store", size=32, per_shard=5, workers=0
    )
    return open_store(place / "store")


def matrix_of(store: Store) -> np.ndarray:
    """Return all latents as float64 rows."""
    return torch.cat([*store.batches(7)]).flatten(1).double().numpy()


def test_whole_latents_agree_with_numpy(store: Store) -> None:
    rows = matrix_of(store)
    assert rows.shape == (IMAGES, 16 * 4 * 4)
    found = fit_pca(store)
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:-1] ** 2 / (IMAGES - 1)
    np.testing.assert_allclose(found.spectrum.explained_variance, values, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.center.values.flatten(), rows.mean(0), atol=1e-6)
    assert found.directions.vectors.shape[1:] == (16, 4, 4)


def test_cells_agree_with_numpy(store: Store) -> None:
    cells = matrix_of(store).reshape(IMAGES, 16, 16).transpose(0, 2, 1).reshape(-1, 16)
    found = fit_pca(store_rows(store, "tokens"))
    assert found.spectrum.n_samples == IMAGES * 16
    expected = np.linalg.eigvalsh(np.cov(cells.T))[::-1]
    np.testing.assert_allclose(found.spectrum.explained_variance, expected, rtol=1e-8)


def test_only_a_store_is_a_store(store: Store, tmp_path: Path) -> None:
    assert is_store(store.folder)
    assert not is_store(tmp_path)
    assert not is_store("sample:flower")


def test_latents_of_several_shapes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    save_image(tmp_path / "photos" / "a.png", 40, 40)
    save_image(tmp_path / "photos" / "b.png", 64, 40)
    encode_folder(load_vae("linear"), tmp_path / "photos", tmp_path / "s", workers=0)
    with pytest.raises(ShapeError, match="latents of 2 shapes"):
        fit_pca(open_store(tmp_path / "s"))


def test_unknown_parts_are_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="whole or tokens"):
        fit_pca(store_rows(store, "halves"))


def test_the_command_writes_a_run_that_traverse_resumes(cli: CommandLine, store: Store) -> None:
    facts = cli("pca", store.folder, "--components", 4, "--out", "run", "--json").facts
    assert (facts["n_samples"], facts["n_features"]) == (IMAGES, 256)
    assert (facts["method"], facts["eigenvalue_error_bounds"]) == ("gram", None)
    assert facts["components_above_null_of"] == "parallel"
    assert facts["null"].keys() == {"isotropic", "parallel", "stationary"}
    assert facts["components_not_counted"] == "latents of different images contain no noise"
    assert facts["subsample"] is None
    rows = matrix_of(store)
    assert facts["latent_std"] == pytest.approx(rows.std(), rel=1e-6)
    assert facts["latent_mean"] == pytest.approx(rows.mean(), abs=1e-6)
    assert facts["title"].endswith("PCA of the latents of 24 images (N = 24, D = 256)")
    assert load_pca("run").sampling.name == "store"
    recorded = json.loads(Path("run/run.json").read_text())["pca"]
    assert recorded["input"]["pictures"] == IMAGES
    assert recorded["model"]["name"] == "mini"
    walked = cli("traverse", "--run", "run", "--components", 2, "--steps", 3, "--json").facts
    assert [row["label"] for row in walked["components"]] == ["PC 1", "PC 2"]


def test_nulls_are_drawn_on_a_subsample_that_is_stated(
    cli: CommandLine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stores._SUBSAMPLE, "whole", 12)
    facts = cli("pca", store.folder, "--json").facts
    assert facts["subsample"] == {"n_samples": 12, "of": IMAGES}
    assert facts["components_above_null_of"] == "parallel"
    assert facts["verdict"].startswith("On a random subsample of 12 of 24 latents: ")
    assert facts["n_samples"] == IMAGES
    assert "a random subsample" in cli("pca", store.folder).out


def test_the_permuted_null_is_that_of_the_rows(cli: CommandLine, store: Store) -> None:
    facts = cli("pca", store.folder, "--json").facts
    rows = torch.from_numpy(matrix_of(store)).float()
    found = latentlab.judge(rows, fit_pca(rows), nulls=["parallel"])
    parallel = next(null for null in found.nulls if null.name == "parallel")
    assert facts["components_above_null"] == found.components_above
    assert facts["null"]["parallel"]["log_fit_r2"] == pytest.approx(parallel.log_fit_r2, abs=0.02)


def test_randomized_says_how_exact_it_is(cli: CommandLine, store: Store) -> None:
    facts = cli("pca", store.folder, "--randomized", "--components", 3, "--json").facts
    assert facts["method"] == "randomized"
    assert len(facts["eigenvalue_error_bounds"]) == 3
    said = cli("pca", store.folder, "--randomized", "--components", 3)
    assert "randomized, eigenvalues within" in said.out


@pytest.mark.parametrize(
    "option",
    [("--size", 32), ("--samples", 8), ("--region", "0,0,8,8"), ("--set", "blur=0"),
     ("--nulls", "parallel"), ("-k", "gaussian"), ("-k", "augment"), ("--model", "mini"),
     ("--device", "cpu"), ("--dtype", "float32"), ("--tile", 128), ("--compile",)],
    ids=str,
)  # fmt: skip
def test_options_about_images_are_refused(
    cli: CommandLine, store: Store, option: tuple[str, object]
) -> None:
    called = cli("pca", store.folder, *option)
    assert called.code == 2
    assert "with a store" in called.error


def test_what_is_said_of_a_store_holds_for_stores(cli: CommandLine, store: Store) -> None:
    facts = cli(
        "pca", store.folder, "--randomized", "--components", 3, "--json", "--out", "run"
    ).facts
    assert "--nulls" not in facts["verdict"]
    assert "directions --" not in facts["verdict"]
    said = cli("pca", store.folder, "--randomized", "--components", 3).out
    assert "participation ratio" not in said
    if facts["components_above_null"] == 3:
        assert "≥ 3" in said
    run = json.loads(Path("run/run.json").read_text())["pca"]["input"]
    assert run["store"] == str(store.folder.resolve())
    assert run["list_sha256"] == store.manifest.list_sha256
    tokens = cli("pca", store.folder, "-k", "tokens", "--json", "--out", "cells").facts
    assert "latent_rgb.png" not in [Path(name).name for name in tokens["files"]]


def test_a_store_that_is_not_finished_says_how_to_resume(
    cli: CommandLine, store: Store, tmp_path: Path
) -> None:
    part = tmp_path / "part"
    part.mkdir()
    for path in store.folder.iterdir():
        if "00003" not in path.name and path.is_file():
            (part / path.name).write_bytes(path.read_bytes())
    called = cli("pca", part)
    assert called.code == 3
    assert "latentlab encode" in called.error


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.slow
@pytest.mark.parametrize("method", [(), ("--randomized", "--components", "4")], ids=str)
def test_two_ranks_find_what_one_process_finds(
    store: Store, tmp_path: Path, method: tuple[str, ...]
) -> None:
    alone, shared = (fit_store_pca_in(tmp_path / name, store, method, ranks) for name, ranks in
                     (("one", 1), ("two", 2)))  # fmt: skip
    known = len(shared["explained_variance"])
    np.testing.assert_allclose(
        shared["explained_variance"], alone["explained_variance"][:known], rtol=1e-5, atol=1e-9
    )
    assert shared["n_samples"] == alone["n_samples"]


def fit_store_pca_in(
    out: Path, store: Store, method: tuple[str, ...], ranks: int
) -> dict[str, list[float]]:
    """Return ``pca.json`` of the command on so many processes."""
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    address = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    launch = [*torchrun, *address, "-m", "latentlab"] if ranks > 1 else ["-m", "latentlab"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *launch, "pca", str(store.folder), *method, "--out", str(out), "-q"],
        check=True, env=environment, cwd=out.parent, timeout=300, capture_output=True,
    )  # fmt: skip
    facts: dict[str, list[float]] = json.loads((out / "pca.json").read_text())
    return facts


@pytest.mark.slow
def test_two_ranks_are_exact_if_one_process_takes_the_gram_matrix(
    cli: CommandLine, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "photos", 7)
    # 25,600 features, beyond the covariance
    assert cli("encode", folder, "--out", "wide", "-m", "linear", "--size", 320,
               "--per-shard", 2, "--store-dtype", "float32").code == 0  # fmt: skip
    store = open_store(tmp_path / "wide")
    alone, shared = (fit_store_pca_in(tmp_path / name, store, (), ranks) for name, ranks in
                     (("alone", 1), ("shared", 2)))  # fmt: skip
    assert shared["method"] == alone["method"] == "gram"
    np.testing.assert_allclose(
        shared["explained_variance"], alone["explained_variance"], rtol=1e-5, atol=1e-12
    )
    assert shared["k90"] == alone["k90"]


def test_a_randomized_pca_keeps_no_more_than_the_rank(cli: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        save_smooth(folder / f"{number:02}.png", seed=number % 3)
    cli("encode", folder, "--out", "few", "-m", "linear", "--store-dtype", "float32")
    facts = cli("pca", "few", "--randomized", "--json").facts
    assert len(facts["explained_variance"]) == 2
    refused(cli("pca", "few", "--randomized", "--components", 5), 2, "1 to 2")
