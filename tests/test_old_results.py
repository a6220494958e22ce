"""What version 0.1 wrote is opened by today's functions, or refused with what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from safetensors.torch import load_file

import latentlab
from latentlab.components.pca import PCA
from latentlab.errors import FileError
from latentlab.latents import Directions
from latentlab.store.verification import verify_store

OLD = Path(__file__).parent / "written_by_0_1"
"""Results of latentlab 0.1.0 with the built-in model linear, without their figures.

``pca`` and ``directions`` are of the neighborhood augment, ``tokens`` and ``labeled`` of tokens.
"""


@pytest.fixture
def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path, tmp_path, capsys)


@pytest.mark.parametrize(("name", "sampler"), [("pca", "augment"), ("tokens", "tokens")])
def test_a_pca_is_loaded_with_all_that_its_files_hold(name: str, sampler: str) -> None:
    pca = latentlab.load(OLD / name)
    assert isinstance(pca, PCA)
    facts = json.loads((OLD / name / "pca.json").read_text())
    arrays = load_file(OLD / name / "pca.safetensors")
    assert torch.equal(pca.components, arrays["components"])
    assert torch.equal(pca.mean, arrays["mean"])
    assert torch.equal(pca.explained_variance, arrays["explained_variance"][: len(pca.components)])
    assert pca.sampling.name == facts["neighborhood"] == sampler
    assert pca.spectrum.n_samples == facts["n_samples"]
    assert pca.origin is not None
    assert pca.origin.name == "image"
    assert torch.equal(pca.origin.values, arrays["origin"])
    assert pca.origin.record["model"]["sha256"]
    again = latentlab.load(OLD / name)
    assert torch.equal(pca.transform(pca.mean[None]), again.transform(again.mean[None]))


@pytest.mark.parametrize(("name", "sampler"), [("directions", "augment"), ("labeled", "tokens")])
def test_directions_are_loaded_with_all_that_their_files_hold(name: str, sampler: str) -> None:
    found = latentlab.load(OLD / name)
    assert isinstance(found, Directions)
    facts = json.loads((OLD / name / "directions.json").read_text())
    arrays = load_file(OLD / name / "directions.safetensors")
    assert torch.equal(found.vectors, arrays["vectors"])
    assert torch.equal(found.deviations, arrays["deviations"])
    assert list(found.labels) == facts["directions"]
    assert found.sampling.name == sampler
    assert found.sampling.seed == facts["seed"]
    assert found.sampling.origin is not None


@pytest.mark.parametrize("name", ["pca", "tokens", "directions", "labeled"])
def test_what_was_loaded_can_be_saved_and_is_the_same(name: str, tmp_path: Path) -> None:
    found = latentlab.load(OLD / name)
    latentlab.save(found, tmp_path / name)
    again = latentlab.load(tmp_path / name)
    for one, other in zip(vectors_of(found), vectors_of(again), strict=True):
        assert torch.equal(one, other)
    assert found.sampling.facts() == again.sampling.facts()


def vectors_of(found: object) -> torch.Tensor:
    assert isinstance(found, PCA | Directions)
    return found.components if isinstance(found, PCA) else found.vectors


@pytest.mark.parametrize("name", ["pca", "tokens", "directions", "labeled"])
def test_a_run_is_traversed(name: str, command: CommandLine, tmp_path: Path) -> None:
    shutil.copytree(OLD / name, tmp_path / "run")
    called = command("traverse", "--run", "run", "--components", 2, "--steps", 3, "--json")
    assert "image" in called.facts["title"]
    assert [path["index"] for path in called.facts["components"]] == [1, 2]
    assert len(called.facts["alphas"]) == 3
    assert all(Path(file).is_file() for file in called.facts["files"])


@pytest.mark.parametrize(
    ("name", "command_name"), [("interpolation", "interpolate"), ("transfer", "transfer")]
)
def test_results_without_their_arrays_are_refused_in_one_sentence(
    name: str, command_name: str
) -> None:
    with pytest.raises(FileError) as caught:
        latentlab.load(OLD / name)
    text = str(caught.value)
    assert "as versions before 0.2 wrote it" in text
    assert text.endswith(f"Run `latentlab {command_name}` again.")
    assert "\n" not in text


def test_a_store_is_opened_and_verified() -> None:
    store = latentlab.open_store(OLD / "store")
    assert list(store.paths()) == ["image.png", "other.png"]
    vae = latentlab.load_vae("linear", device="cpu")
    for path, latent in zip(store.paths(), next(store.batches(2)), strict=True):
        expected = latentlab.encode(vae, OLD / "images" / path, size=64).values
        torch.testing.assert_close(latent, expected, rtol=1e-3, atol=1e-3)
    found = verify_store(OLD / "store")
    assert found.count == 0, found.problems


def test_a_store_is_resumed_and_keeps_its_bytes(command: CommandLine, tmp_path: Path) -> None:
    shutil.copytree(OLD / "store", tmp_path / "store")
    shutil.copytree(OLD / "images", tmp_path / "images")
    words = ("encode", "images", "--out", "store", "-m", "linear", "--size", 64, "--device", "cpu")
    called = command(*words, "--workers", 0, "--json")
    assert called.facts["computed"] == 0
    (tmp_path / "store" / "latents-00000.jsonl").unlink()
    assert command(*words, "--workers", 0, "--json").facts["computed"] == 2
    for path in (OLD / "store").iterdir():
        assert (tmp_path / "store" / path.name).read_bytes() == path.read_bytes(), path.name


def test_components_of_a_store_are_fitted(command: CommandLine) -> None:
    called = command("pca", OLD / "store", "-k", "tokens", "--components", 3, "--json")
    assert called.facts["n_samples"] == 2 * 8 * 8
