"""``latentlab interpolate`` and ``latentlab traverse --curved``, by calling them."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import SIZE, Called, CommandLine, save_image
from PIL import Image

from latentlab.results.folders import read_json


@pytest.fixture(scope="module")
def place(place: Path) -> Path:
    """Return the folder with another image, ``other.png``."""
    save_image(place / "other.png", 80, 64)
    return place


def between(cli: CommandLine, place: Path, *arguments: object) -> Called:
    photos = place / "photo.png", place / "other.png"
    return cli("interpolate", *photos, "-m", cli.model, *arguments)


def refused(called: Called, code: int, *words: str) -> None:
    assert called.code == code
    assert [word for word in words if word not in called.error] == []


@pytest.mark.parametrize("path", ["linear", "slerp", "arc"])
def test_interpolate_writes_what_it_says(path: str, cli: CommandLine, place: Path) -> None:
    called = between(cli, place, "--size", SIZE, "--path", path, "--steps", 4, "--json")
    facts = called.facts
    files = [Path(file) for file in facts["files"]]
    names = {
        *("interpolation.gif", "sheet.png", "change.png"),
        *("interpolation.safetensors", "interpolation.json", "run.json"),
    }
    assert {file.name for file in files} == names
    assert all(file.stat().st_size for file in files)
    assert files[0].parent == Path("latentlab-runs/photo-other-small-1")
    assert (facts["path"], facts["linear"]["path"]) == (path, "linear")
    assert len(facts["changes"]) == 3
    assert facts["length"] == pytest.approx(sum(facts["changes"]))
    assert facts["detour"] >= 1 - 1e-9
    assert facts["speed_ratio"] >= 1
    assert len(facts["drift_relative"]) == 4
    record = read_json(files[0].parent / "run.json")["interpolate"]
    assert [entry["name"] for entry in record["input"]] == ["photo", "other"]
    assert (record["path"], record["steps"]) == (path, 4)
    with Image.open(files[0]) as animation:
        assert animation.size == (SIZE, SIZE)


@pytest.mark.slow
def test_interpolate_prints_a_summary_and_takes_other_formats(
    cli: CommandLine, place: Path
) -> None:
    options = ("--size", SIZE, "--steps", 3, "--format", "webp", "--out", "here")
    called = between(cli, place, *options, "--path", "arc")
    assert called.code == 0
    assert "photo to other · small" in called.out
    assert Path("here/interpolation.webp").is_file()
    quiet = between(cli, place, *options, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_images_of_different_native_size_are_refused(cli: CommandLine, place: Path) -> None:
    refused(
        between(cli, place, "--json", "--size", "native"),
        2,
        "images of different size",
        "--size 256",
    )
    assert not Path("latentlab-runs").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--path", "shortest"), "shortest"),
        (("--steps", 2), "at least 3 steps"),
        (("--fps", 0), "--fps 0"),
        (("--size", 63), "--size 62 or 64"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(
    options: tuple[str, object], words: str, cli: CommandLine, place: Path
) -> None:
    refused(between(cli, place, *options), 2, words)


def test_a_missing_second_image_is_a_bad_file(cli: CommandLine) -> None:
    called = cli("interpolate", cli.image, "nowhere.png", "-m", cli.model)
    refused(called, 3, "nowhere.png")


@pytest.mark.slow
def test_a_curved_walk_says_how_it_turned(cli: CommandLine) -> None:
    options = ("--samples", 6, "--components", 1, "--steps", 3, "--out", "here")
    called = cli(
        *("traverse", cli.image, "-m", cli.model, "--size", 32, "--curved", "--json"), *options
    )
    facts = called.facts
    component = facts["components"][0]
    assert facts["curved"] is True
    assert facts["products"] > 0
    assert len(component["turning"]) == len(component["held"]) == len(component["gains"]) == 3
    assert component["turning"][1] == 0
    assert 0 <= component["monotonicity"] <= 1
    again = cli("traverse", "--run", "here", "--curved", "--components", 1, "--steps", 3)
    assert again.code == 0, again.err
    assert "rad" in again.out


def test_an_unknown_neighborhood_is_refused_before_it_could_curve(cli: CommandLine) -> None:
    called = cli("traverse", cli.image, "-m", cli.model, "-k", "nonsense", "--curved")
    refused(called, 2, "neighborhood 'nonsense'", "one of augment")


def test_a_curved_walk_of_tokens_is_refused(cli: CommandLine) -> None:
    options = ("-m", cli.model, "--size", 32, "-k", "tokens")
    refused(cli("traverse", cli.image, *options, "--curved"), 2, "--neighborhood tokens")
    assert cli("pca", cli.image, *options, "--out", "here").code == 0
    called = cli("traverse", "--run", "here", "--components", 2, "--curved", "-q")
    refused(called, 2, "a curved walk along tokens")
