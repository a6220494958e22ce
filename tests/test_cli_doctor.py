"""``doctor``: its letter, its files, its JSON, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import CommandLine, files_in, save_image
from PIL import Image

CONTRACT = {"name", "found", "value", "threshold", "unit", "advice"}
NAMES = (
    *("finite", "lattice", "color shift", "blur", "lost detail", "corners", "borders", "spots"),
    *("unit variance", "normalization", "dead channels", "droplets", "black holes"),
    *("float16", "repeats", "batch", "channels"),
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        save_image(folder / f"{index}.png", 70 + 4 * index, 90)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_a_healthy_model_gets_a_line_and_no_figure(cli: CommandLine, tmp_path: Path) -> None:
    called = cli("doctor", "-m", "linear", "--size", 128, "--out", tmp_path / "run")
    assert called.code == 0
    assert "linear · 2 images · no finding" in called.out
    assert re.search(f"Healthy: {', '.join(NAMES)}.", called.out)
    assert "the two sample images that come with latentlab are used" in called.err
    assert {*files_in(tmp_path / "run")} == {"doctor.json", "run.json"}


def test_findings_are_a_table_a_figure_and_json(
    cli: CommandLine, photos: Path, tmp_path: Path
) -> None:
    """Random weights have almost every defect."""
    out = tmp_path / "run"
    asked = ("doctor", photos, "-m", cli.model, "--size", 64, "--out", out)
    called = cli(*asked)
    assert called.code == 0
    assert "left out: broken.png" in called.err
    found = re.match(r"small · 3 images · (\d+) findings", called.out)
    assert found
    facts = cli(*asked, "--json").facts
    assert [one["name"] for one in facts["findings"]] == [*NAMES]
    assert all(one.keys() >= CONTRACT for one in facts["findings"])
    assert sum(one["found"] is True for one in facts["findings"]) == int(found[1])
    for one in facts["findings"]:
        if one["found"]:
            assert one["advice"][1:] in called.out
            assert one["unit"] in called.out
    places = [one["place"] for one in facts["findings"] if one["place"]]
    assert {place["image"] for place in places} <= {"0.png", "1.png", "2.png"}
    with Image.open(out / "doctor.png") as figure:
        assert figure.size[1] > figure.size[0] / 4
    run = json.loads((out / "run.json").read_text())["doctor"]
    assert run["n_images"] == 16
    assert [one["name"] for one in run["inputs"]] == ["0.png", "1.png", "2.png"]
    assert run["notes"] == facts["notes"]


def test_a_run_without_findings_removes_the_figure_of_an_earlier_one(
    cli: CommandLine, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    cli("doctor", photos, "-m", cli.model, "--size", 64, "--out", out)
    assert (out / "doctor.png").exists()
    cli("doctor", "-m", "linear", "--size", 128, "--out", out)
    assert not (out / "doctor.png").exists()


def test_images_are_drawn_by_the_seed(cli: CommandLine, photos: Path, tmp_path: Path) -> None:
    def drawn(seed: int) -> list[str]:
        out = tmp_path / str(seed)
        asked = ("-m", "linear", "--size", 64, "-n", 1, "--seed", seed, "--out", out)
        assert cli("doctor", photos, *asked).code == 0
        inputs = json.loads((out / "run.json").read_text())["doctor"]["inputs"]
        return [one["name"] for one in inputs]

    assert drawn(0) == drawn(0)
    assert len({*map(tuple, map(drawn, range(6)))}) > 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nowhere",), 3, "nowhere"),
        (("notes.txt",), 3, "notes.txt"),
        (("empty",), 3, "no image in it"),
        (("sample:flower", "--size", "33"), 2, "--size 33"),
        (("sample:cat",), 3, "sample:china"),
    ],
)
def test_what_cannot_be_examined_is_said(
    words: tuple[str, ...], code: int, said: str, cli: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    called = cli("doctor", *words, "-m", "linear")
    assert called.code == code
    assert said in called.error


def test_one_image_is_enough(cli: CommandLine) -> None:
    facts = cli("doctor", "sample:flower", "-m", "linear", "--size", 64, "--json").facts
    assert facts["n_images"] == 1
    assert [one["problem"] for one in facts["findings"] if one["found"] is None] == []
