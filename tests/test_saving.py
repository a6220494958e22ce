"""What ``latentlab.save`` wrote comes back from ``latentlab.load``, bit for bit."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import SIZE, CommandLine
from safetensors.torch import load_file, save_file
from torch import Tensor

import latentlab
from latentlab.directions.transfer import Transfer
from latentlab.errors import FileError, UsageError
from latentlab.images.image import Image
from latentlab.latents import Latent
from latentlab.results.saving import Result
from latentlab.testing.linear_vae import LinearVAE, smooth_image
from latentlab.walks.interpolation import Interpolation

KINDS = ("pca", "directions", "transfer", "interpolation")
SENTENCE = r"^Got .*, but expected .*\. [A-Z].*\.$"


@pytest.fixture(scope="module")
def vae() -> LinearVAE:
    return LinearVAE()


@pytest.fixture(scope="module")
def latents(vae: LinearVAE) -> list[Latent]:
    """Return the latents of two images, with what is known of model and image."""
    return [
        latentlab.encode(vae, Image(0.5 * smooth_image(seed=seed), name=f"image{seed}"))
        for seed in range(2)
    ]


@pytest.fixture(scope="module")
def results(vae: LinearVAE, latents: list[Latent]) -> dict[str, Result]:
    """Return a result of every kind."""
    origin, other = latents
    hood = latentlab.neighborhood(
        vae, origin, "augment", n_samples=20, region=(4, 0, 20, 16), seed=3, rotation=9.0
    )
    found = latentlab.find_directions(vae, origin, hood, 2, finder="jacobian", max_products=10)
    return {
        "pca": latentlab.fit_pca(hood, n_components=3),
        "directions": found,
        "transfer": latentlab.transfer_directions(vae, origin, found, [other], alpha=1 / 3, seed=5),
        "interpolation": latentlab.interpolate(vae, origin, other, path="arc", steps=4),
    }


@pytest.fixture(scope="module")
def written(
    results: dict[str, Result], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[Path]]]:
    """Return the folder that each result was saved into, and the paths that were returned."""
    root = tmp_path_factory.mktemp("results")
    return {
        kind: (root / kind, latentlab.save(result, root / kind)) for kind, result in results.items()
    }


@pytest.fixture
def copy(written: dict[str, tuple[Path, list[Path]]], tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies the folder of a result, to be damaged."""
    return lambda kind: Path(shutil.copytree(written[kind][0], tmp_path / kind))


def differences(first: Any, other: Any, where: str = "result") -> list[str]:
    """Return where two results differ in type, in a bit of an array or in a fact."""
    if isinstance(first, Tensor):
        same = isinstance(other, Tensor) and first.dtype == other.dtype
        return [] if same and torch.equal(first, other) else [where]
    if isinstance(first, Mapping):
        if not isinstance(other, Mapping) or first.keys() != other.keys():
            return [where]
        return [
            one for key in first for one in differences(first[key], other[key], f"{where}.{key}")
        ]
    if type(first) is not type(other):
        return [where]
    if is_dataclass(first):
        names = [field.name for field in fields(first) if field.name != "image"]
        return [
            one
            for name in names
            for one in differences(getattr(first, name), getattr(other, name), f"{where}.{name}")
        ]
    if isinstance(first, list | tuple):
        pairs = zip(first, other, strict=False)
        unequal = [one for a, b in pairs for one in differences(a, b, f"{where}[]")]
        return unequal if len(first) == len(other) else [where]
    return [] if first == other else [where]


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_and_every_fact_comes_back(
    kind: str, results: dict[str, Result], written: dict[str, tuple[Path, list[Path]]]
) -> None:
    folder, paths = written[kind]
    assert sorted(paths) == sorted(folder.iterdir())
    assert differences(results[kind], latentlab.load(folder)) == []


def test_what_the_recipes_save_comes_back(vae: LinearVAE, tmp_path: Path) -> None:
    image = Image(0.5 * smooth_image(), name="smooth")
    how: dict[str, Any] = {"n_samples": 12, "seed": 3, "options": {"rotation": 9.0}}
    analysis = latentlab.analyze(vae, image, folder=tmp_path / "pca", nulls=[], **how)
    assert differences(analysis.pca, latentlab.load(tmp_path / "pca")) == []
    found = latentlab.analyze_directions(
        vae, image, finder="ica", n_components=2, folder=tmp_path / "directions", **how
    )
    assert found.directions.sampling.statement.startswith("Copies of the image")
    assert differences(found.directions, latentlab.load(tmp_path / "directions")) == []


def test_the_comparison_sees_every_field(results: dict[str, Result]) -> None:
    for kind, result in results.items():
        assert differences(result, result) == []
        others = [other for name, other in results.items() if name != kind]
        assert all(differences(result, other) for other in others)
    pca = results["pca"]
    moved = latentlab.PCA(pca.spectrum, pca.components.nextafter(torch.tensor(2.0)), pca.mean)
    assert differences(pca, moved) == [
        "result.components",
        *(f"result.sampling.{name}" for name in ("name", "layout", "origin", "seed")),
        *(f"result.sampling.{name}" for name in ("options", "label", "factors", "statement")),
        "result.sampling.n_samples",
        "result.solver",
    ]


def test_records_are_those_of_model_and_images(
    latents: list[Latent], written: dict[str, tuple[Path, list[Path]]]
) -> None:
    origin, other = latents
    assert origin.record["model"]["name"] == "linear"
    pca, found, transfer, path = (latentlab.load(written[kind][0]) for kind in KINDS)
    assert pca.center.record == found.sampling.known_origin().record == origin.record
    assert isinstance(transfer, Transfer)
    assert transfer.record == origin.record
    assert isinstance(path, Interpolation)
    assert path.record["input"] == [origin.record["input"], other.record["input"]]


def test_a_plain_matrix_comes_back_without_an_origin(tmp_path: Path) -> None:
    pca = latentlab.fit_pca(torch.randn(9, 5, generator=torch.Generator().manual_seed(0)))
    latentlab.save(pca, tmp_path)
    assert differences(pca, latentlab.load(tmp_path)) == []


def test_lengths_that_are_no_number_come_back(
    vae: LinearVAE, latents: list[Latent], tmp_path: Path
) -> None:
    still = latentlab.interpolate(vae, latents[0], latents[0], steps=3)
    assert math.isnan(still.detour)
    latentlab.save(still, tmp_path)
    assert differences(still, latentlab.load(tmp_path)) == []


def test_a_traversal_is_written_and_other_types_are_refused(
    vae: LinearVAE, latents: list[Latent], results: dict[str, Result], tmp_path: Path
) -> None:
    walk = latentlab.traverse(vae, latents[0], results["pca"], n_components=1, steps=3)
    names = {path.name for path in latentlab.save(walk, tmp_path, suffix=".webp")}
    assert {"traversal.webp", "component_1.webp", "sheet.png", "traversal.json"} < names
    with pytest.raises(UsageError, match=SENTENCE):
        latentlab.save(latents[0], tmp_path)


def refused(folder: Path) -> str:
    """Return the message that loading a folder fails with: a sentence that names the folder."""
    with pytest.raises(FileError) as caught:
        latentlab.load(folder)
    message = str(caught.value)
    assert re.search(SENTENCE, message)
    assert str(folder) in message
    return message


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        assert "without a result, but expected a folder with one of pca.json" in refused(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_format_is_refused(kind: str, copy: Callable[[str], Path]) -> None:
    path = copy(kind) / f"{kind}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    message = refused(path.parent)
    assert "of format 99, but expected format 1 or older. Update latentlab." in message


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_are_missing_or_cut_are_refused(kind: str, copy: Callable[[str], Path]) -> None:
    path = copy(kind) / f"{kind}.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert "damaged or incomplete" in refused(path.parent)
    path.unlink()
    assert path.name in refused(path.parent)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_do_not_fit_the_facts_are_refused(
    kind: str, copy: Callable[[str], Path]
) -> None:
    path = copy(kind) / f"{kind}.safetensors"
    facts = json.loads(path.with_suffix(".json").read_text())
    del facts["arrays_sha256"]  # as earlier versions wrote it
    path.with_suffix(".json").write_text(json.dumps(facts))
    arrays = load_file(path)
    needed = [name for name in arrays if not name.startswith(("origin", "factor.", "error"))]
    for name in needed:
        save_file({key: array for key, array in arrays.items() if key != name}, path)
        if name not in ("rows", "strengths", "residuals", "steps"):  # not all finders have these
            assert name in refused(path.parent)
        # The facts do not say how many components there are, but how long they are.
        shorter = arrays[name][..., :-1] if kind == "pca" else arrays[name][:-1]
        if name != "explained_variance":
            save_file({**arrays, name: shorter.clone(memory_format=torch.contiguous_format)}, path)
            assert "damaged or incomplete" in refused(path.parent)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_that_are_no_json_are_refused(kind: str, copy: Callable[[str], Path]) -> None:
    folder = copy(kind)
    for content in ("{", "[]", "{}"):
        (folder / f"{kind}.json").write_text(content)
        refused(folder)


def test_the_command_line_resumes_what_python_saved(cli: CommandLine, tmp_path: Path) -> None:
    vae = latentlab.load_vae(cli.model)
    latent = latentlab.encode(vae, cli.image, size=SIZE)
    hood = latentlab.neighborhood(vae, latent, "gaussian", n_samples=8, region=(0, 0, 32, 32))
    pca = latentlab.fit_pca(hood)
    expected = latentlab.traverse(vae, latent, pca, n_components=2, span=2.0, steps=3)
    for result in (pca, latentlab.find_directions(vae, latent, hood, 2)):
        folder = tmp_path / type(result).__name__
        latentlab.save(result, folder)
        walk = ("traverse", "--run", folder, "--components", 2, "--span", 2, "--steps", 3)
        facts = cli(*walk, "--dtype", "float32", "--json").facts
        assert facts["title"].startswith("photo · ")
        for found, path in zip(facts["components"], expected.paths, strict=True):
            assert found["label"] == path.label
            assert found["explained_variance_ratio"] == pytest.approx(path.share, rel=1e-6)
            assert found["pixel_change"] == pytest.approx(path.scores.pixel_change, rel=1e-3)
        assert (folder / "traversal.gif").is_file()


@pytest.mark.parametrize("kind", ["pca", "transfer", "interpolation", "directions"])
def test_a_folder_put_together_from_two_runs_is_not_loaded(tmp_path: Path, kind: str) -> None:
    vae = latentlab.load_vae("linear")
    draw = torch.Generator().manual_seed(0)
    for run in ("one", "other"):
        first, last = (
            latentlab.encode(vae, torch.rand(3, 16, 16, generator=draw) * 2 - 1) for _ in "ab"
        )
        hood = latentlab.neighborhood(vae, first, "gaussian", n_samples=4)
        found = latentlab.find_directions(vae, first, hood, 2)
        result = {
            "pca": lambda hood=hood: latentlab.fit_pca(hood),
            "directions": lambda found=found: found,
            "transfer": lambda f=found, a=first, b=last: latentlab.transfer_directions(
                vae, a, f, [b], n_samples=4
            ),
            "interpolation": lambda a=first, b=last: latentlab.interpolate(vae, a, b, steps=3),
        }[kind]()
        latentlab.save(result, tmp_path / run)
    latentlab.load(tmp_path / "one")
    arrays = f"{kind}.safetensors"
    (tmp_path / "one" / arrays).write_bytes((tmp_path / "other" / arrays).read_bytes())
    with pytest.raises(FileError, match=rf"{kind}\.safetensors is not the one"):
        latentlab.load(tmp_path / "one")


def test_numbers_that_contradict_the_arrays_are_not_loaded(tmp_path: Path) -> None:
    latentlab.save(latentlab.fit_pca(torch.randn(6, 5)), tmp_path)
    facts = json.loads((tmp_path / "pca.json").read_text())
    for key, value in (
        ("total_variance", 2 * facts["total_variance"]),
        ("explained_variance", facts["explained_variance"][::-1]),
        ("n_features", 7),
        ("k90", facts["k90"] + 1),
    ):
        (tmp_path / "pca.json").write_text(json.dumps({**facts, key: value}))
        with pytest.raises(FileError, match="damaged or incomplete"):
            latentlab.load(tmp_path)
    (tmp_path / "pca.json").write_text(json.dumps(facts))
    assert latentlab.load(tmp_path).components.shape == (5, 5)
