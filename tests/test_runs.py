"""Result folders: names, whole files, and runs that come back as they were."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from latentlab import fit_pca, neighborhood, traverse
from latentlab.components.pca import PCA
from latentlab.errors import FileError, UsageError
from latentlab.latents import Latent
from latentlab.machine.files import check_folder
from latentlab.results.components import load_pca, save_pca
from latentlab.results.folders import create_run, latest_run, read_json, remember_run, write_json
from latentlab.results.provenance import provenance, recorded_model, write_record
from latentlab.results.walks import save_traversal
from latentlab.testing.linear_vae import LinearVAE


@pytest.fixture
def fitted(linear_vae: LinearVAE, linear_latent: Latent) -> PCA:
    """Return the PCA of a gaussian neighborhood of 7 samples, in a region."""
    hood = neighborhood(linear_vae, linear_latent, "gaussian", n_samples=7, region=(4, 0, 20, 16))
    return fit_pca(hood, n_components=3)


@pytest.mark.parametrize(
    ("image", "model", "folder"),
    [
        ("cat", "taef2", "cat-taef2-1"),
        ("my cat (2)", "sd/vae:x", "my_cat_2-sd_vae_x-1"),
        ("../../etc/passwd", "..", "etc_passwd-image-1"),
        ("写真", "", "image-image-1"),
        ("a" * 300, "m", f"{'a' * 60}-m-1"),
    ],
)
def test_names_of_run_folders_are_plain(
    image: str, model: str, folder: str, tmp_path: Path
) -> None:
    assert create_run(image, model, tmp_path / "runs") == tmp_path / "runs" / folder
    assert (tmp_path / "runs" / folder).is_dir()


def test_run_folders_count_up_and_fill_no_gap_twice(tmp_path: Path) -> None:
    made = [create_run("cat", "taef2", tmp_path) for _ in range(3)]
    assert [folder.name[-2:] for folder in made] == ["-1", "-2", "-3"]


def test_the_latest_run_is_the_last_with_a_result(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no pca run"):
        latest_run(tmp_path)
    for moment, name in enumerate(("b", "c", "a"), 1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pca.json").touch()
        os.utime(tmp_path / name / "pca.json", ns=(moment, moment))
    (tmp_path / "unfinished").mkdir()
    assert latest_run(tmp_path).name == "a"


def test_a_folder_that_exists_or_can_be_made_is_accepted(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "newer")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "new", "new/newer"])
def test_a_folder_below_a_file_or_a_broken_link_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileError, match=name):
            check_folder(tmp_path / name / below)


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everywhere, so the system's answer is faked.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(FileError, match="writable"):
        check_folder(tmp_path / "new")


def test_json_has_null_for_nan_and_infinity(tmp_path: Path) -> None:
    facts = {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}, "e": "σ"}
    path = write_json(tmp_path / "x.json", facts)
    assert read_json(path) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": "σ"}
    assert "σ" in path.read_text(encoding="utf-8")


def test_json_keeps_names_that_are_not_valid_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    assert read_json(write_json(tmp_path / "x.json", {"name": name})) == {"name": name}


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{", "[1]", "nonsense"])
def test_json_that_is_not_an_object_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(FileError, match=r"x\.json"):
        read_json(tmp_path / "x.json")


def test_commands_record_side_by_side(tmp_path: Path) -> None:
    write_record(tmp_path, "pca", {"seed": 1})
    write_record(tmp_path, "traverse", {"seed": 2})
    facts = read_json(write_record(tmp_path, "traverse", {"seed": 3}))
    assert {command: facts[command]["seed"] for command in facts} == {"pca": 1, "traverse": 3}


def test_a_new_pca_begins_the_record_anew(tmp_path: Path) -> None:
    write_record(tmp_path, "pca", {"seed": 1})
    write_record(tmp_path, "traverse", {"seed": 2})
    facts = read_json(write_record(tmp_path, "pca", {"seed": 3}))
    assert {command: facts[command]["seed"] for command in facts} == {"pca": 3}


def test_a_folder_used_again_keeps_nothing_of_the_earlier_run(
    linear_vae: LinearVAE, linear_latent: Latent, fitted: PCA, tmp_path: Path
) -> None:
    (tmp_path / "mine.png").write_bytes(b"not a result")
    tokens = fit_pca(neighborhood(linear_vae, linear_latent, "tokens"))
    save_pca(tokens, tmp_path)
    save_traversal(traverse(linear_vae, linear_latent, tokens, n_components=3, steps=2), tmp_path)
    save_traversal(traverse(linear_vae, linear_latent, tokens, n_components=2, steps=2), tmp_path)
    assert not (tmp_path / "component_3.gif").exists()
    assert (tmp_path / "component_2.gif").exists()
    files = save_pca(fitted, tmp_path).files
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {path.name for path in files} | {"mine.png"}


def test_the_latest_run_may_lie_elsewhere(fitted: PCA, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    save_pca(fitted, create_run("a", "b", root))
    outside = tmp_path / "outside"
    save_pca(fitted, outside)
    os.utime(outside / "pca.json", ns=(2**61, 2**61))
    assert latest_run(root).name == "a-b-1"
    remember_run(outside, root)
    assert latest_run(root) == outside


def test_the_model_of_the_pca_is_recorded(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    write_record(tmp_path, "pca", provenance(linear_vae, linear_latent, ["pca", "x.png"], seed=4))
    assert recorded_model(tmp_path) == {
        "source": "latentlab.testing",
        "revision": None,
        "sha256": {},
        "dtype": "float32",
        "tile": None,
    }
    facts = read_json(tmp_path / "run.json")["pca"]
    assert facts["command_line"] == ["pca", "x.png"]
    assert facts["seed"] == 4
    assert facts["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("facts", [{}, {"pca": {}}, {"pca": 3}, {"pca": {"model": {"source": 1}}}])
def test_a_record_without_a_model_is_refused(facts: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", facts)
    with pytest.raises(FileError, match="without a model"):
        recorded_model(tmp_path)


def test_a_saved_pca_comes_back_as_it_was(fitted: PCA, tmp_path: Path) -> None:
    files = save_pca(fitted, tmp_path / "run", facts={"extra": 1}).files
    assert json.loads((tmp_path / "run" / "pca.json").read_text())["extra"] == 1
    assert {path.name for path in files} == {path.name for path in (tmp_path / "run").iterdir()}
    again = load_pca(tmp_path / "run")
    for name in ("components", "mean"):
        torch.testing.assert_close(getattr(again, name), getattr(fitted, name), rtol=0, atol=0)
    variances = fitted.spectrum.explained_variance
    assert torch.equal(again.spectrum.explained_variance, variances)
    assert again.spectrum.total_variance == fitted.spectrum.total_variance
    assert again.sampling.layout == fitted.sampling.layout
    assert again.sampling.options == {"radius": 0.1, "region": [4, 0, 20, 16]}
    assert torch.equal(again.center.values, fitted.center.values)
    assert again.center.spec.stride == fitted.center.spec.stride
    assert torch.equal(again.directions.vectors, fitted.directions.vectors)


def test_the_ground_truth_of_the_samples_is_kept(
    linear_vae: LinearVAE, linear_latent: Latent, tmp_path: Path
) -> None:
    hood = neighborhood(linear_vae, linear_latent, "augment", n_samples=7)
    save_pca(fit_pca(hood), tmp_path)
    factors = load_pca(tmp_path).sampling.factors
    assert factors.keys() == hood.factors.keys()
    assert torch.equal(factors["rotation"], hood.factors["rotation"])


def test_the_pca_of_a_plain_matrix_can_be_saved_but_not_walked(tmp_path: Path) -> None:
    matrix = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    save_pca(fit_pca(matrix), tmp_path)
    assert read_json(tmp_path / "pca.json")["n_features"] == 5
    with pytest.raises(UsageError, match="plain matrix"):
        _ = load_pca(tmp_path).directions


def test_a_saved_walk_has_an_animation_for_each_component(
    linear_vae: LinearVAE, linear_latent: Latent, fitted: PCA, tmp_path: Path
) -> None:
    walk = traverse(linear_vae, linear_latent, fitted, n_components=2, steps=3)
    files = save_traversal(walk, tmp_path, suffix=".webp").files
    names = [
        *("traversal.webp", "component_1.webp", "component_2.webp"),
        *("sheet.png", "traversal.json"),
    ]
    assert [path.name for path in files] == [*names, "run.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "run.json"])
    facts = read_json(tmp_path / "traversal.json")
    assert facts["files"] == names
    assert [component["index"] for component in facts["components"]] == [1, 2]
