"""``latentlab explore``: what it prints, what it refuses, and what it starts from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine

import latentlab
from latentlab.explorer import opening
from latentlab.images.examples import sample_path


@pytest.fixture
def cli(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    """Return the command line, in a process whose explorer ends as soon as it runs."""
    monkeypatch.setattr(opening.Explorer, "wait", lambda explorer: None)
    return CommandLine(tmp_path, tmp_path, capfd)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what explorers were begun with."""
    found: list[dict[str, Any]] = []
    begin = opening.explore

    def explore(vaes: Any, image: Any, **how: Any) -> Any:
        found.append({"names": [vae.spec.name for vae in vaes], "image": image, **how})
        return begin(vaes, image, **how)

    monkeypatch.setattr(opening, "explore", explore)
    return found


def test_it_prints_the_address_in_one_line(cli: CommandLine) -> None:
    done = cli("explore", "-m", "linear", "--no-browser", "--port", "0", "--size", "64")
    assert done.code == 0
    (line,) = done.out.splitlines()
    assert line.startswith("http://127.0.0.1:")
    assert "Ctrl-C stops the server" in done.err


def test_json_has_address_and_port(cli: CommandLine) -> None:
    done = cli("explore", "-m", "linear", "--no-browser", "--port", "0", "--size", "64", "--json")
    facts = json.loads(done.out)
    assert facts["url"].startswith(f"http://127.0.0.1:{facts['port']}/")


def test_it_begins_with_the_sample_and_its_options(
    cli: CommandLine, begun: list[dict[str, Any]]
) -> None:
    common = ("-m", "linear", "--no-browser", "--port", "0")
    assert cli("explore", *common).code == 0
    assert begun[0]["image"] == "sample:flower"
    assert (begun[0]["neighborhood"], begun[0]["finder"], begun[0]["n_samples"]) == (
        *("augment", "pca"),
        None,
    )
    more = ("-k", "tokens", "--finder", "ica", "--seed", "3", "--region", "0,0,32,32")
    assert cli("explore", "sample:china", *common, "-m", "mini", *more).code == 0
    assert begun[1]["names"] == ["linear", "mini"]
    assert begun[1]["region"] == (0, 0, 32, 32)
    assert (begun[1]["neighborhood"], begun[1]["finder"], begun[1]["seed"]) == ("tokens", "ica", 3)


def test_a_store_brings_its_model(
    cli: CommandLine, begun: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("flower", "china"):
        shutil.copy(sample_path(f"sample:{name}"), tmp_path / "photos")
    store = tmp_path / "store"
    vae = latentlab.load_vae("linear")
    latentlab.encode_folder(vae, tmp_path / "photos", store, size=64, workers=0)
    done = cli("explore", store, "--images", tmp_path / "photos", "--no-browser", "--port", "0")
    assert done.code == 0, done.err
    assert begun[0]["names"] == ["linear"]
    assert "chosen by the store" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.png",), "missing.png"),
        (("-m", "linear", "-m", "mini", "-m", "linear"), "one or two"),
        (("--finder", "nonsense"), "nonsense"),
        (("-k", "nonsense"), "nonsense"),
        (("--images", "."), "a store"),
        (("--set", "turn=5"), "turn"),
        (("--set", "rotation=much"), "a number"),
        (("--map", "tsne"), "a store"),
        (("-k", "frames"), "video"),
        (("--finder", "difference"), "second image"),
        (("-m", "linear", "--port", "99999"), "0 to 65535"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cli: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    done = cli("explore", *arguments, "--no-browser")
    assert done.code in (2, 3)
    assert words in done.err
    assert done.out == ""


def test_the_help_has_groups_like_the_others(cli: CommandLine) -> None:
    text = cli("explore", "--help").out
    for heading in ("Arguments:", "Options:", "Sampling:", "Model:", "Output:"):
        assert heading in text
    assert "64 are" in " ".join(text.split())
