"""The glossary explains every key of the result files, and none that they do not have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from latentlab.cli.main import run

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ("sample:flower", "--model", "linear", "--size", "64", "--quiet")
COMMANDS = (
    ("pca", *IMAGE, "-n", "12", "--nulls", "stationary", "--out", "whole"),
    ("pca", *IMAGE, "-k", "patches", "--region", "0,0,32,32", "--out", "patches"),
    (
        "directions",
        *IMAGE,
        "-n",
        "12",
        "--components",
        "2",
        "--alignment",
        "1",
        "--out",
        "directions",
    ),
    ("traverse", *IMAGE, "-n", "12", "--components", "1", "--steps", "3", "--out", "straight"),
    ("traverse", "--run", "whole", "--components", "1", "--steps", "3", "--curved", "--quiet"),
    ("encode", "photos", "--model", "linear", "--size", "32", "--out", "store", "--quiet"),
    ("metrics", "photos", "-m", "linear", "--size", "32", "-q", "--spread", "--out", "measured"),
    (
        *("metrics", "sprites", "-m", "linear", "--size", "16", "-n", "100", "--only", "mig"),
        *("-q", "--out", "sprites"),
    ),
    (
        "compare",
        "photos",
        "-m",
        "linear",
        "-m",
        "linear",
        "--size",
        "32",
        "-q",
        "--out",
        "compared",
    ),
    ("pca", "store", "--randomized", "--components", "1", "--out", "of_store", "--quiet"),
)
# Their keys are names of settings, factors and statistics, or of ends of a rectangle.
FREE = {"options", "extremes", "neighborhood", "layout.window", "nulls_left_out"}
FREE |= {"curves", "spread", "table.values", "skipped.images", "skipped.metrics"}
FREE |= {"labels.factors", "labels.statistics", "labels.effects"}
# One entry for each null model or finder: the keys of the entries are explained.
BY_NAME = {"null", "metrics", "agreement", "controls"}
ONCE = {"directions.json", "metrics.json", "comparison.json"}
ELBOW = {"elbow.index", "elbow.strength", "elbow.drop"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which every command has written its files."""
    from PIL import Image

    place = tmp_path_factory.mktemp("runs")
    (place / "photos").mkdir()
    for index in range(3):
        color = (80 * index, 200 - 60 * index, 30)
        Image.new("RGB", (32, 32), color).save(place / f"photos/{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for command in COMMANDS:
            assert run(command) == 0, command
    return place


def keys(facts: Any, parent: str = "") -> Iterator[str]:
    """Yield every key of a JSON value, with the keys above it, such as ``null.curve``."""
    if isinstance(facts, list):
        for item in facts:
            yield from keys(item, parent)
    elif isinstance(facts, Mapping):
        for name, value in facts.items():
            if parent in BY_NAME:
                yield from keys(value, f"{parent} of a name")
                continue
            key = f"{parent.removesuffix(' of a name')}.{name}" if parent else name
            yield key
            if key not in FREE:
                yield from keys(value, key)


def explained(file: str) -> set[str]:
    """Return the keys that the glossary explains below headings that name this file."""
    found: set[str] = set()
    sections = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").split("\n## ")[1:]
    for section in sections:
        heading, *lines = section.splitlines()
        if f"`{file}`" in heading:
            rows = [line.split("|")[1] for line in lines if line.startswith("| `")]
            found |= {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    return found


@pytest.mark.parametrize(
    "file", ["pca.json", "directions.json", "traversal.json", "metrics.json", "comparison.json"]
)
def test_every_key_of_a_result_is_in_the_glossary_and_no_other(file: str, runs: Path) -> None:
    facts = [json.loads(path.read_text()) for path in runs.rglob(file)]
    assert len(facts) >= (1 if file in ONCE else 2)
    found = {key for one in facts for key in keys(one)}
    shared = explained("directions.json") & explained("pca.json")
    assert sorted(found - explained(file)) == []
    # An elbow is rare, and the keys of both tables of samples need not be in both files.
    assert sorted(explained(file) - found - ELBOW - shared) == []


def test_keys_carry_the_names_above_them() -> None:
    facts = {"a": 1, "null": {"parallel": {"curve": [1]}}, "labels": [{"factors": {"hue": 1}}]}
    assert list(keys(facts)) == ["a", "null", "null.curve", "labels", "labels.factors"]
