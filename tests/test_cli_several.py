"""Several images in one command: a run each, one table, and failures that stop nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import CommandLine, save_image

from latentlab.cli.several import folder_of
from latentlab.encoding.encoder import encode
from latentlab.encoding.scale import Scales
from latentlab.loaders import load_vae

SMALL = ("-m", "linear", "--size", "32")
PCA = (*SMALL, "-k", "tokens", "--nulls", "none")
DIRECTIONS = (*SMALL, "-n", "8", "--components", "2", "--no-labels", "--compare", "none")


@pytest.fixture
def three(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """Return a caller in a folder with ``a.png``, ``b.png`` and a ``c.png`` that is no image."""
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png", 64, 48)
    (tmp_path / "c.png").write_text("text")
    return cli


def test_each_image_gets_the_run_that_it_gets_alone(three: CommandLine) -> None:
    alone = {name: three("pca", f"{name}.png", *PCA, "-o", f"{name}1", "--json") for name in "ab"}
    both = three("pca", "a.png", "b.png", *PCA, "-o", "both", "--json").facts
    assert both["failed"] == []
    assert [*both] == ["images", "failed"]
    for name, facts in zip("ab", both["images"], strict=True):
        files = [str(Path(f"both/{name}", Path(file).name)) for file in alone[name].facts["files"]]
        assert facts == {**alone[name].facts, "files": files}


def test_the_table_comes_last_and_failures_are_in_it(three: CommandLine) -> None:
    called = three("pca", "c.png", "a.png", "missing.png", "b.png", *PCA)
    assert called.code == 3
    *_, heading, first, second, third, fourth = called.out.splitlines()
    assert heading.split()[:3] == ["PC", "1", "k90"]
    runs = [str(Path("latentlab-runs", f"{name}-linear-1")) for name in "ab"]
    assert [first.split()[0], first.split()[-1]] == ["a.png", runs[0]]
    assert [second.split()[0], second.split()[-1]] == ["b.png", runs[1]]
    assert max(map(len, (heading, first, second))) < 160  # each run has said why nothing is claimed
    assert third.split()[0] == "c.png"
    assert fourth.split()[0] == "missing.png"
    assert third.endswith("failed, code 3")
    assert called.err.count("error: ") == 2
    assert "error: Got c.png, which is no image" in called.err
    assert "image 2 of 4: a.png" in called.err


@pytest.mark.parametrize("command", [("reconstruct", *SMALL), ("directions", *DIRECTIONS)])
def test_the_scale_of_several_latents_is_said_once(
    three: CommandLine, command: tuple[str, ...]
) -> None:
    called = three(*command, "a.png", "b.png")
    said = [line for line in called.err.splitlines() if "standard deviation" in line]
    records = [
        json.loads(Path(f"latentlab-runs/{name}-linear-1/run.json").read_text()) for name in "ab"
    ]
    stds = [record[command[0]]["input"]["latent_std"] for record in records]
    (low, first), (high, last) = sorted(zip(stds, "ab", strict=True))
    span = f"{low:.2g} ({first}) to {high:.2g} ({last})"
    assert said == [f"2 images: standard deviation {span} in model space"]
    assert stds[0] == pytest.approx(float(encode(load_vae("linear"), "a.png", 32).values.std()))


def test_a_latent_far_from_one_is_said_at_once_and_the_range_at_the_end() -> None:
    said: list[str] = []
    scales = Scales(said.append)
    for name, deviation in (("a", 0.9), ("b", 0.05), ("c", 0.04)):
        scales.add(name, deviation)
    assert len(said) == 1
    assert said[0].startswith("b: standard deviation 0.05 in model space, far from 1")
    scales.close()
    assert said[1:] == ["3 images: standard deviation 0.04 (c) to 0.9 (a) in model space"]


def test_json_has_the_failures_and_the_exit_code_is_that_of_the_first(three: CommandLine) -> None:
    called = three("directions", "a.png", "https://x.org/a.png", "b.png", *DIRECTIONS, "--json")
    assert called.code == 3
    facts = json.loads(called.out)
    assert [run["directions"] for run in facts["images"]] == [["PC 1", "PC 2"]] * 2
    (failed,) = facts["failed"]
    assert failed["image"] == "https://x.org/a.png"
    assert failed["code"] == 3
    glossary = (Path(__file__).parents[1] / "docs/glossary.md").read_text(encoding="utf-8")
    for key in (*facts, *(f"failed.{key}" for key in failed)):
        assert f"| `{key}` |" in glossary
    assert failed["error"].endswith("curl -LO https://x.org/a.png.")


def test_what_fails_while_running_stops_nothing_else(three: CommandLine, tmp_path: Path) -> None:
    save_image(tmp_path / "tiny.png", 4, 4)
    called = three("reconstruct", "tiny.png", "a.png", "-m", "linear", "-o", "out", "--debug")
    assert called.code == 3
    assert "Traceback" in called.err
    assert "error: tiny.png: Got " in called.err
    assert Path("out/a/decoded.png").is_file()
    assert not Path("out/tiny").exists()
    assert "Traceback" not in three("reconstruct", "tiny.png", "c.png", "-m", "linear").err


def test_all_failed_before_a_model_was_loaded(three: CommandLine) -> None:
    called = three("pca", "c.png", "missing.png", "-m", "./missing", "--json")
    assert called.code == 3
    assert json.loads(called.out)["images"] == []
    assert len(json.loads(called.out)["failed"]) == 2
    called = three("pca", "c.png", "missing.png", "-m", "./missing", "-q")
    assert (called.code, called.out) == (3, "")


def test_options_that_are_wrong_for_every_image_are_one_error(three: CommandLine) -> None:
    assert "at least 2" in three("pca", "a.png", "b.png", "-n", 1, *SMALL).error
    assert "nothing can be written" in three("pca", "a.png", "b.png", *PCA, "-o", "c.png/x").error
    assert not Path("latentlab-runs").exists()


def test_a_pattern_in_quotes_and_one_match_of_it(three: CommandLine) -> None:
    both = three("reconstruct", "[ab].png", *SMALL, "--json").facts
    assert [Path(run["files"][0]).parent.name for run in both["images"]] == [
        "a-linear-1",
        "b-linear-1",
    ]
    one = three("reconstruct", "a*.png", *SMALL, "--json").facts
    assert "images" not in one


def test_images_of_one_name_get_folders_of_their_own() -> None:
    images = ["x/a.png", "y/a.jpg", "sample:flower"]
    folders = [folder_of(index, images, Path("out")) for index in range(3)]
    assert folders == [Path("out/a-1"), Path("out/a-2"), Path("out/sample-flower")]
    assert folder_of(0, images, None) is None
