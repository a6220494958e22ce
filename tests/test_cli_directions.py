"""``directions``, ``transfer`` and ``traverse --finder``: output, files, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine, files_in, save_image
from PIL import Image
from safetensors.torch import load_file

from latentlab import find_directions, load_vae, neighborhood
from latentlab.encoding.encoder import encode
from latentlab.errors import FileError
from latentlab.results.directions import load_directions

SIZE = 32  # smaller than elsewhere, since labels decode and encode 64 images each
TYPES: dict[str, type | tuple[type, ...]] = {
    "finder": str,
    "strengths": list,
    "strength_name": str,
    "residuals": (list, type(None)),
    "matvecs": int,
    "labels": list,
    "baseline_strength": float,
    "agreement": dict,
    "files": list,
}


@pytest.fixture(scope="module")
def place(place: Path) -> Path:
    """Return the folder with another image, ``other.png``."""
    save_image(place / "other.png", 70, 80)
    return place


@pytest.fixture
def search(cli: CommandLine) -> Any:
    """Return a caller of ``directions`` with the small image and model."""

    def call(*options: object, samples: int = 12) -> Any:
        return cli(
            *("directions", cli.image, "-m", cli.model, "--size", SIZE, "-n", samples),
            *("--json", *options),
        )

    return call


def test_one_json_object_with_every_key_of_the_contract(search: Any) -> None:
    called = search("--components", 2)
    assert called.out.count("\n") == 1
    facts = called.facts
    assert {name: isinstance(facts[name], kind) for name, kind in TYPES.items()} == dict.fromkeys(
        TYPES, True
    )
    assert facts["finder"] == "pca"
    assert len(facts["strengths"]) == len(facts["labels"]) == 2
    for label in facts["labels"]:
        assert isinstance(label["factor"], str)
        assert -1 <= label["rho"] <= 1
        assert isinstance(label["effect"], float)
        assert isinstance(label["unit"], str)
        assert label["source"] in ("factor", "statistic")
    assert facts["agreement"].keys() == {"random"}
    assert {"overlap", "chance", "angles"} <= facts["agreement"]["random"].keys()
    assert {Path(file).name for file in facts["files"]} == {
        *("directions.safetensors", "directions.json", "sheet.png", "run.json")
    }
    assert all(Path(file).is_file() for file in facts["files"])
    assert len(facts["factors"]) == 9


def test_the_numbers_are_those_of_the_library(search: Any, place: Path) -> None:
    facts = search("-k", "gaussian", "--components", 3, "--seed", 4, "--no-labels").facts
    vae = load_vae(place / "small")
    latent = encode(vae, place / "photo.png", size=SIZE)
    hood = neighborhood(vae, latent, "gaussian", n_samples=12, seed=4)
    found = find_directions(vae, latent, hood, 3, seed=4)
    assert facts["strengths"] == found.strengths.tolist()
    assert facts["baseline_strength"] == found.baseline_strength
    folder = Path(facts["files"][0]).parent
    loaded = load_directions(folder)
    assert torch.equal(loaded.vectors, found.vectors)
    assert torch.equal(loaded.sampling.known_origin().values, latent.values)
    assert (loaded.labels, loaded.finder) == (found.labels, "pca")
    assert facts["labels"] == []
    assert "factors" not in facts


def test_neighborhoods_without_factors_are_labelled_by_statistics(search: Any) -> None:
    facts = search("-k", "tokens", "--components", 2, samples=200).facts
    assert {label["source"] for label in facts["labels"]} == {"statistic"}
    assert all("measured " in label["text"] for label in facts["labels"])
    assert all(label["unit"] for label in facts["labels"])
    assert "factors" not in facts


@pytest.mark.parametrize(
    ("finder", "options", "count"),
    [
        ("random", ["--components", 3], 3),
        ("jacobian", ["--components", 2, "--features", "blurred"], 2),
        ("ica", ["--components", 2, "--set", "leading=4"], 2),
        ("sparse-pca", ["--components", 2, "--set", "sparsity=0.5", "--set", "hue=0"], 2),
        ("supervised", [], 9),
        ("difference", ["--set", "other=OTHER"], 1),
    ],
)
def test_every_finder_runs_with_its_settings(
    finder: str, options: list[Any], count: int, search: Any, place: Path
) -> None:
    given = [str(option).replace("OTHER", str(place / "other.png")) for option in options]
    facts = search("--finder", finder, *given, "--compare", "pca").facts
    assert facts["finder"] == finder
    assert len(facts["strengths"]) == count
    assert facts["agreement"].keys() == {"pca"}
    assert facts["neighborhood"]["hue"] == (0 if "hue=0" in given else 10)


def test_the_summary_says_strength_chance_meaning_and_agreement(
    cli: CommandLine, search: Any
) -> None:
    options = ("-m", cli.model, "--size", SIZE, "-n", 20, "--finder", "supervised")
    called = cli("directions", cli.image, *options)
    assert called.code == 0
    for words in ("random directions", "correlates with", "best component", "overlap with pca"):
        assert words in called.out
    quiet = cli("directions", cli.image, *options, "--quiet", "--no-labels")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_the_same_command_gives_the_same_bytes(search: Any) -> None:
    for folder in ("a", "b"):
        options = ("-k", "tokens", "--components", 2, "--out", folder)
        assert search(*options, samples=100).code == 0
    first, again = files_in(Path("a")), files_in(Path("b"))
    assert first.pop("run.json") != again.pop("run.json")  # which hold the command line
    assert first == again


# traverse


def test_traverse_walks_along_what_a_finder_finds_and_labels_the_rows(
    cli: CommandLine, place: Path
) -> None:
    facts = cli(
        *("traverse", cli.image, "-m", cli.model, "--size", SIZE, "-n", 12),
        *("--finder", "ica", "--components", 2, "--steps", 3, "--json"),
    ).facts
    captions = [component["caption"].splitlines() for component in facts["components"]]
    assert [caption[0] for caption in captions] == ["IC 1", "IC 2"]
    assert all(caption[1].startswith("|excess kurtosis| ") for caption in captions)
    assert all("ρ" in caption[2] or "visibly" in caption[2] for caption in captions)
    folder = Path(facts["files"][0]).parent
    assert json.loads((folder / "run.json").read_text()).keys() == {"directions", "traverse"}


def test_traverse_resumes_a_directions_run(cli: CommandLine, search: Any) -> None:
    options = ("--finder", "random", "-k", "gaussian", "--components", 3)
    labels = search(*options, "--out", "found").facts["labels"]
    again = cli("traverse", "--run", "found", "--steps", 3, "--json").facts
    assert [component["label"] for component in again["components"]] == [
        "random 1",
        "random 2",
        "random 3",
    ]
    captions = [component["caption"].splitlines()[-1] for component in again["components"]]
    assert captions == [one["text"] for one in labels]
    with Image.open("found/traversal.gif") as animation:
        assert animation.n_frames > 1


def test_a_plain_traverse_labels_nothing_and_decodes_no_more_than_its_steps(
    cli: CommandLine,
) -> None:
    facts = cli(
        *("traverse", cli.image, "-m", cli.model, "--size", SIZE, "-n", 6),
        *("--components", 2, "--steps", 3, "--json"),
    ).facts
    assert facts["decodes"] == 5
    assert facts["components"][0]["caption"].splitlines()[0] == "PC 1"
    assert facts["components"][0]["caption"].endswith("% of variance")


def test_one_direction_is_walked_where_there_is_only_one(cli: CommandLine, place: Path) -> None:
    facts = cli(
        *("traverse", cli.image, "-m", cli.model, "--size", SIZE, "-n", 12, "--steps", 2),
        *("--finder", "difference", "--set", f"other={place / 'other.png'}", "--no-labels"),
        "--json",
    ).facts
    assert [component["label"] for component in facts["components"]] == ["photo → other"]


# transfer


def test_transfer_compares_the_changes_with_random_directions(
    cli: CommandLine, place: Path
) -> None:
    facts = cli(
        *("transfer", cli.image, place / "other.png", "-m", cli.model, "--size", SIZE),
        *("-n", 12, "--components", 2, "--json"),
    ).facts
    for measure in ("picture_change", "label_scores"):
        found = facts[measure]
        low, high = found["interval"]
        assert -1 <= low <= found["cosine"] <= high <= 1
        assert -1 <= found["random_interval"][0] <= found["random"] <= 1
    assert [pair["target"] for pair in facts["pairs"]] == ["other"]
    assert len(facts["pairs"][0]["cosines"]) == 2
    names = {Path(file).name for file in facts["files"]}
    assert {"transfer.png", "transfer_sheet.png", "transfer.json"} <= names
    assert all(Path(file).is_file() for file in facts["files"])


# What is refused


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--finder", "nonsense"], 2, "finder 'nonsense'"),
        (["--components", 0], 2, "--components 0"),
        (["--components", 12], 2, "12 directions asked of 'pca', but expected 1 to 11"),
        (["--compare", "nonsense"], 2, "finder 'nonsense'"),
        (["--set", "sparsity=1"], 2, "option 'sparsity' for neighborhood 'augment'"),
        (["--finder", "sparse-pca", "--set", "sparsity=x"], 2, "sparsity='x'"),
        (["--features", "blurred"], 2, "option 'features' for finder 'pca'"),
        (["--finder", "difference"], 2, "another image, or two folders"),
        (["--finder", "difference", "--set", "other=missing.png"], 3, "missing.png"),
        (["--finder", "difference", "--set", "positive=x", "--set", "negative=y"], 3, "y"),
        (["--finder", "supervised", "-k", "gaussian"], 2, "without known factors"),
        (["--compare", "supervised", "-k", "gaussian"], 2, "without known factors"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    options: list[Any], code: int, words: str, search: Any
) -> None:
    called = search(*options)
    assert called.code == code, called.err
    assert words in called.error
    assert not Path("latentlab-runs").exists()


def test_fewer_samples_than_directions_are_refused(search: Any) -> None:
    called = search("--finder", "supervised", samples=6)
    assert called.code == 2
    assert "6 samples for 5-fold cross-validation" in called.error


def test_images_of_different_native_size_are_refused(cli: CommandLine, place: Path) -> None:
    called = cli(
        *("transfer", cli.image, place / "other.png", "-m", cli.model, "-n", 12),
        *("--size", "native"),
    )
    assert called.code == 2
    assert "images of different size" in called.error
    assert "--size" in called.error


def test_transfer_of_one_image_is_refused(cli: CommandLine) -> None:
    called = cli("transfer", cli.image, "-m", cli.model)
    assert called.code == 2
    assert "at least two" in called.error


def test_a_finder_without_an_image_is_refused(cli: CommandLine) -> None:
    called = cli("traverse", "--finder", "ica")
    assert called.code == 2
    assert "--finder" in called.error


def test_damaged_directions_are_refused(cli: CommandLine, search: Any) -> None:
    assert search("--components", 2, "--no-labels", "--compare", "none", "--out", "run").code == 0
    for name, damage in {
        "directions.json": lambda path: path.write_text("{}"),
        "directions.safetensors": lambda path: path.write_bytes(b"no tensors"),
    }.items():
        shutil.copytree("run", "broken", dirs_exist_ok=True)
        damage(Path("broken") / name)
        with pytest.raises(FileError, match="damaged or incomplete files"):
            load_directions("broken")
        called = cli("traverse", "--run", "broken", "--json")
        assert called.code == 3
    arrays = load_file("run/directions.safetensors")
    assert arrays["rows"].shape == (2, 1024)
    with pytest.raises(FileError, match="directions"):
        load_directions("nowhere")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("directions", ("--finder", "--components", "--labels", "--compare", "--features")),
        ("transfer", ("--finder", "--components", "--alpha", "--size")),
        ("traverse", ("--finder", "--labels", "--features")),
    ],
)
def test_help_lists_the_options(command: str, options: tuple[str, ...], cli: CommandLine) -> None:
    called = cli(command, "--help")
    assert called.code == 0
    assert [option for option in options if option not in called.out] == []
