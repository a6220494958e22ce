"""What a release says about itself agrees: version, Python, bounds of dependencies."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import latentlab

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOWEST_EXTRAS = ("video", "digits")
"""Extras that `make test-lowest` installs with their lowest versions."""


def bounds(requirements: list[str]) -> dict[str, Version]:
    """Return name → lower bound; latentlab's own extras are left out."""
    found = {}
    for text in requirements:
        one = Requirement(text)
        if one.name == "latentlab":
            continue
        (bound,) = one.specifier
        assert bound.operator == ">=", text
        found[canonicalize_name(one.name)] = Version(bound.version)
    return found


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_every_dependency_has_a_lower_bound_and_no_upper_one() -> None:
    for requirements in (PROJECT["dependencies"], *EXTRAS.values()):
        assert bounds(requirements)
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_lowest_versions_are_the_bounds() -> None:
    pinned, wanted = pins(), bounds(PROJECT["dependencies"])
    for extra in LOWEST_EXTRAS:
        wanted |= bounds(EXTRAS[extra])
    wanted |= {name: bound for name, bound in bounds(EXTRAS["dev"]).items() if name in pinned}
    assert pinned.pop("torch") >= wanted.pop("torch")
    assert pinned == wanted


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["version"]
    assert latentlab.__version__ == version
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE).group(1) == version
    assert re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) == (
        version
    )


def test_the_citation_is_valid() -> None:
    yaml = pytest.importorskip("yaml", reason="comes with transformers")
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    needed = {"cff-version", "message", "title", "authors"}
    assert needed <= facts.keys()
    assert facts["license"] == PROJECT["license"]


def test_the_classifiers_name_the_versions_of_python() -> None:
    found = [one for one in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+", one)]
    assert found == [f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)]
