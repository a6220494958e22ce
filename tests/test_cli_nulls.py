"""``latentlab pca --nulls``: what is drawn, what is said, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import CommandLine, files_in

from latentlab.chance.nulls import NULLS
from latentlab.results.components import load_pca

GAUSSIAN = ("-k", "gaussian")


def test_by_default_parallel_is_drawn_where_it_is_quick(cli: CommandLine) -> None:
    called = cli.pca(*GAUSSIAN, samples=12)
    facts = called.facts
    assert list(facts["null"]) == ["isotropic", "parallel"]
    assert facts["components_above_null_of"] == "parallel"
    assert facts["nulls_left_out"] == {}
    assert "left out" not in called.err
    assert facts["elbow"] is None
    dimension = facts["effective_dimension"]
    assert dimension["lower"] <= facts["participation_ratio"] <= dimension["upper"]


def test_where_it_is_slow_it_is_left_out_and_that_is_said(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NULLS["parallel"], "seconds", lambda *_: 1000.0)
    called = cli.pca(*GAUSSIAN)
    facts = called.facts
    assert list(facts["null"]) == ["isotropic"]
    assert facts["components_above_null_of"] == "isotropic"
    assert "about 1000 s" in facts["nulls_left_out"]["parallel"]
    lines = [line for line in called.err.splitlines() if "left out" in line]
    assert lines == [f"the parallel null is left out: {facts['nulls_left_out']['parallel']}"]
    assert "(isotropic noise)" in facts["verdict"]
    # Asked for, it is drawn whatever it takes.
    assert "parallel" in cli.pca(*GAUSSIAN, "--nulls", "parallel").facts["null"]


def test_the_nulls_asked_for_are_drawn_and_recorded(cli: CommandLine) -> None:
    facts = cli.pca(*GAUSSIAN, "--nulls", "parallel,stationary, signflip", samples=12).facts
    assert list(facts["null"]) == ["isotropic", "parallel", "stationary", "signflip"]
    assert len({NULLS[name].color for name in facts["null"]}) == 4
    folder = Path(facts["files"][0]).parent
    assert json.loads((folder / "run.json").read_text())["pca"]["nulls"] == list(facts["null"])
    assert json.loads((folder / "pca.json").read_text())["verdict"] == facts["verdict"]
    assert len(load_pca(folder).spectrum.explained_variance) == 11


def test_none_draws_none(cli: CommandLine) -> None:
    called = cli.pca(*GAUSSIAN, "--nulls", "none")
    assert list(called.facts["null"]) == ["isotropic"]
    assert called.facts["nulls_left_out"] == {}


def test_runs_of_earlier_versions_are_read(cli: CommandLine) -> None:
    folder = Path(cli.pca(*GAUSSIAN).facts["files"][0]).parent
    facts = json.loads((folder / "pca.json").read_text())
    for key in ("null", "verdict", "effective_dimension", "elbow", "components_above_null"):
        del facts[key]
    (folder / "pca.json").write_text(json.dumps({**facts, "of_a_later_version": [1]}))
    assert load_pca(folder).sampling.name == "gaussian"


def test_the_same_command_draws_the_same(cli: CommandLine) -> None:
    contents = []
    for out in ("one", "two"):
        command = (*GAUSSIAN, "--nulls", "parallel,stationary,signflip", "--out", out)
        cli.pca(*command, samples=10)
        files = files_in(Path(out))
        contents.append({name: text for name, text in files.items() if name != "run.json"})
    assert contents[0] == contents[1]


def test_the_summary_shows_count_interval_and_verdict(cli: CommandLine) -> None:
    called = cli(*("pca", cli.image, "-m", cli.model, "--size", 64, "--samples", 12, *GAUSSIAN))
    text = " ".join(called.out.split())
    assert "components above chance 0 (parallel null)" in text
    assert "95 % interval" in text
    assert "No component rises above chance." in text


def test_two_samples_are_analyzed_without_nulls(cli: CommandLine) -> None:
    called = cli.pca(*GAUSSIAN, samples=2)
    assert called.facts["components_above_null"] is None
    assert called.facts["null"] == {}
    assert "at least 3" in called.facts["nulls_left_out"]["parallel"]
    assert called.facts["verdict"].startswith("Two samples")


def test_leading_components_alone_are_compared_too(cli: CommandLine) -> None:
    facts = cli.pca(*GAUSSIAN, "--randomized", "--components", 3, samples=12).facts
    assert facts["components_above_null"] == 0
    assert facts["effective_dimension"] is None
    assert "partial" not in facts["verdict"]  # the negative control says what it is, no more


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--nulls", "nonsense"), 2, ("nonsense", "parallel", "stationary")),
        (("--nulls", "none,parallel"), 2, ("'none'",)),
        (("--nulls", ""), 2, ("names",)),
        (("-k", "tokens", "--nulls", "stationary"), 2, ("tokens", "Leave the stationary null out")),
        (("-k", "gaussian", "--samples", "2", "--nulls", "parallel"), 2, ("at least 3",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_nulls_that_make_no_sense_are_refused_and_nothing_is_written(
    cli: CommandLine, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    called = cli.pca(*arguments)
    assert called.code == code
    assert called.error.startswith("error: Got ")
    assert [word for word in words if word not in called.error] == []
    assert not Path("latentlab-runs").exists()
