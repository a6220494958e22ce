"""``scripts/hardening``: the watch sees what it should, and a quick form of every campaign."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latentlab.errors import UsageError

FOLDER = Path(__file__).resolve().parents[1] / "scripts" / "hardening"
OURS = {path.stem for path in FOLDER.glob("*.py")} - {"__main__"}
NAMES = sorted(path.stem.removesuffix("_campaign") for path in FOLDER.glob("*_campaign.py"))
EXECUTIONS = 60
"""Of each parser."""


@pytest.fixture(scope="module")
def hardening() -> Iterator[SimpleNamespace]:
    """Yield the modules of the campaigns, which find each other as when their folder is run."""
    import tempfile

    before, place = set(OURS) & sys.modules.keys(), tempfile.tempdir
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        import campaigns
        import mutating
        import page
        import probing
        import running

        found = {"campaigns": campaigns, "mutating": mutating, "page": page}
        yield SimpleNamespace(probing=probing, running=running, **found)
    tempfile.tempdir = place
    for name in OURS - before:
        sys.modules.pop(name, None)


def refuse() -> None:
    raise UsageError("a", "b", "c")


def fail() -> None:
    raise KeyError("x")


def write_elsewhere() -> None:
    (Path.home() / ".latentlab-hardening-test").write_text("x")
    (Path.home() / ".latentlab-hardening-test").unlink()


FAULTS: dict[str, Callable[[], Any]] = {
    "traceback": fail,
    "hang": lambda: [None for _ in iter(int, 1)],
    "elsewhere in open": write_elsewhere,
    "elsewhere in subprocess.Popen": lambda: subprocess.run(["true"], check=True),
    "elsewhere in os.mkdir": lambda: os.rmdir(os.mkdir("/tmp/lh-test") or "/tmp/lh-test"),  # noqa: PTH102, PTH106
}


@pytest.mark.parametrize("kind", FAULTS)
def test_the_watch_sees_every_kind_of_fault(
    hardening: SimpleNamespace, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(hardening.probing.FaultError) as found:
        hardening.probing.probe(FAULTS[kind], tmp_path, seconds=0.3)
    assert found.value.signature.startswith(kind)


def test_the_watch_sees_what_hangs_asleep(
    hardening: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening.probing, "ASLEEP", 1)
    with pytest.raises(hardening.probing.FaultError, match="hang"):
        hardening.probing.probe(lambda: time.sleep(5), tmp_path, seconds=0.2)


def test_the_watch_lets_results_refusals_and_own_files_pass(
    hardening: SimpleNamespace, tmp_path: Path
) -> None:
    probe = hardening.probing.probe

    def write() -> str:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("x")
        (tmp_path / "a" / "b").rename(tmp_path / "c")
        return "written"

    assert probe(write, tmp_path) == "written"
    assert probe(lambda: None, tmp_path) == "accepted"
    assert probe(refuse, tmp_path) == "refused"


def test_what_was_found_is_added_to_and_stands_in_the_page(
    hardening: SimpleNamespace, tmp_path: Path
) -> None:
    def read(content: bytes, _: Path) -> None:
        if b"\xff" in content:
            raise IndexError(content[0])

    seeds = [b"\xff abc", b"abcd"]
    parser = hardening.campaigns.Parser("toy", "toys", lambda _: seeds, read)
    measure, effort = hardening.running.measure, hardening.running.Effort
    said: list[str] = []
    for cases in (30, 50):
        found = measure(parser, tmp_path, effort(cases, 60, 0, False), tmp_path, say=said.append)
        assert found.executions == sum(found.ends.values()) == cases
    assert found == measure(
        parser, tmp_path, effort(50, 60, 9, False), tmp_path, say=said.append
    ), "a campaign that has enough stays as it is"
    (signature,) = found.faults
    assert signature.startswith("traceback in IndexError")
    assert b"\xff" in (tmp_path / "faults" / "toy-1").read_bytes()
    text = hardening.page.to_markdown({"toy": parser}, {"toy": found})
    assert f"| 50 | 1,000,000 | {found.ends['accepted']} accepted, " in text
    assert f"- toy: {signature}" in text


def test_a_killed_run_is_counted_up_to_its_last_checkpoint(
    hardening: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: bytes, __: Path) -> None:
        nonlocal calls
        calls += 1
        if calls > 40:
            raise KeyboardInterrupt  # as unexpected as a kill, but it leaves this process alive

    calls = 0
    running, checkpoints = hardening.running, tmp_path / "results"
    monkeypatch.setattr(running, "CHECKPOINT", 0.0)
    parser = hardening.campaigns.Parser("toy", "toys", lambda _: [b"abc"], read)
    drawn = hardening.campaigns.Drawn("cases", "c", "h", 99, lambda _: nullcontext(read_case))

    def read_case(seed: int) -> str:
        read(b"", tmp_path)
        return "equal"

    for campaign in (parser, drawn):
        calls = 0
        with pytest.raises(KeyboardInterrupt):
            running.measure(campaign, checkpoints, running.Effort(99, 60, 0, False), tmp_path)
        found = running.furthest(campaign.name, tmp_path / "none", checkpoints)
        assert found.executions == sum(found.ends.values()) == 40
    older = hardening.campaigns.Measured(executions=39)
    running.write("toy", older, tmp_path / "older")
    assert running.furthest("toy", tmp_path / "older", checkpoints).executions == 40
    assert running.furthest("toy", checkpoints, tmp_path / "older").executions == 40


def test_what_a_guided_child_reports_is_added_to_earlier_runs(
    hardening: SimpleNamespace, tmp_path: Path
) -> None:
    before = hardening.campaigns.Measured(executions=5, seconds=1.0, ends=Counter(refused=5))
    report = tmp_path / "report.json"
    assert hardening.running._with_report(before, report) == before
    facts = {
        "executions": 3,
        "seconds": 0.5,
        "ends": {"fault": 1, "refused": 2},
        "faults": {"a": "b"},
    }
    report.write_text(json.dumps(facts))
    found = hardening.running._with_report(before, report)
    assert (found.executions, found.seconds, found.faults) == (8, 1.5, {"a": "b"})
    assert found.ends == {"fault": 1, "refused": 7}
    assert before.executions == 5


def test_a_missing_atheris_is_said_with_the_way_to_get_it(
    hardening: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parser = hardening.campaigns.Parser("toy", "toys", lambda _: [b""], lambda *_: None)
    monkeypatch.setattr(hardening.running, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="pip install atheris"):
        hardening.running.measure(
            parser, None, hardening.running.Effort(9, 9, 0, True), tmp_path, say=lambda _: None
        )


def test_mutations_depend_on_their_number_alone(hardening: SimpleNamespace) -> None:
    mutated = hardening.mutating.mutated
    seeds = [b"abc" * 9, b"xyz"]
    first = [mutated(seeds, number, [b"word"], 64) for number in range(200)]
    assert first == [mutated(seeds, number, [b"word"], 64) for number in range(200)]
    assert first[:2] == seeds
    assert len(set(first)) > 150
    assert max(map(len, first)) <= 64


def test_changes_of_json_leave_json_and_the_bytes_around_it(hardening: SimpleNamespace) -> None:
    change, facts = hardening.mutating.change_json, {"a": [1, {"b": "x"}], "c": {"d": 0.5}}
    content = b"\xff{" + json.dumps(facts).encode() + b"\0}"
    found = {change(content, random.Random(seed)) for seed in range(300)} - {None}
    assert len(found) > 50
    for one in found:
        assert (one[:2], one[-2:]) == (b"\xff{", b"\0}")
        assert isinstance(json.loads(one[2:-2]), dict)
    for content in (b"no object", b"{", b"{{{", b"{" * 5000):
        assert change(content, random.Random(0)) is None
    assert change(b"{}", random.Random(0)) not in (None, b"{}")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_quick_form_of_a_campaign_finds_no_fault(
    hardening: SimpleNamespace, tmp_path: Path, name: str
) -> None:
    campaign = hardening.campaigns.campaign_of(name)
    assert campaign.name == name
    is_parser = isinstance(campaign, hardening.campaigns.Parser)
    cases = EXECUTIONS if is_parser else campaign.quick
    effort = hardening.running.Effort(cases, 60, 0, False)
    found = hardening.running.measure(campaign, None, effort, tmp_path, say=lambda _: None)
    assert found.faults == {}
    assert found.executions == cases
    assert len(found.ends) > 1 or not is_parser
