"""Progress when stderr is a file: occasional lines with the time left; and what errors say."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from latentlab.cli import console
from latentlab.cli.failures import explain
from latentlab.cli.main import main
from latentlab.cli.summaries import _MEASURES, _additivity


def test_a_paragraph_is_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    paragraph = "no line of a pipe breaks " * 200
    console.print_parts([paragraph, console.table([["a" * 3000, "b"]])])
    first, second = capsys.readouterr().out.splitlines()
    assert first == paragraph.rstrip()
    assert second.split() == ["a" * 3000, "b"]


def test_shares_have_no_negative_zero_and_no_dash_after_a_minus_sign() -> None:
    share = {"value": -0.001, "lower": -0.12, "upper": 0.4, "model": "linear"}
    facts = {"additivity": {"factors": ["blur"], "shares": [share]}}
    assert _additivity(facts) == [("explained by the 1 factor", "0% (-12% to 40%) linearly")]
    positive = {**share, "value": 0.5, "lower": 0.48, "upper": 0.52}
    facts = {"additivity": {"factors": ["blur"], "shares": [positive]}}
    assert _additivity(facts)[0][1] == "50% (48%–52%) linearly"
    assert format(-0.0004, _MEASURES["linear"][1]) == "0%"
    assert format(-0.0004, _MEASURES["k90"][1]) == "0.0"


def test_a_log_gets_a_line_for_each_interval_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress_bar() as progress:
        assert progress is not None
        for done in range(1, 11):
            progress("sampling", done, 10)
            now += 20.0
    captured = capsys.readouterr()
    assert captured.out == ""
    told, *lines = captured.err.splitlines()
    assert told.startswith("sampling: about 2.7 min for the remaining 8, ")
    assert len(lines) == 4
    assert lines[0] == "sampling: 3 of 10, about 2.3 min left"  # 20 s each, seven to go


def test_a_first_report_gives_no_estimate_and_a_very_long_step_says_how_to_shorten_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress_bar(shorten="lower --size") as progress:
        assert progress is not None
        now = 40.0  # a slow first sample, which holds the warm-up
        progress("sampling", 1, 256)
        assert capsys.readouterr().err == ""
        for done in (2, 3):
            now += 10.0
            progress("sampling", done, 256)
            told = capsys.readouterr().err
            assert "0 s" not in told.split()
            if done == 2:
                assert told.startswith("sampling: about 42 min for the remaining 254, ")
                assert told.splitlines()[0].endswith(" so far; to shorten it, lower --size")


def test_reports_that_come_all_at_once_give_no_estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress_bar() as progress:
        assert progress is not None
        now = 40.0  # the first draws of a round are made together
        progress("null", 1, 50)
        now = 40.01
        progress("null", 2, 50)
        assert capsys.readouterr().err == ""
        now = 80.0
        progress("null", 21, 50)
        assert capsys.readouterr().err == "null: 21 of 50, about 58 s left\n"


def test_a_step_that_comes_again_is_measured_and_told_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress_bar(shorten="lower --size") as progress:
        assert progress is not None
        for pace in (1.0, 100.0):  # seconds a sample: ten of them once, and then ten slow ones
            for done in range(1, 11):
                progress("sampling", done, 10)
                now += pace
    told, *lines = capsys.readouterr().err.splitlines()
    assert told.startswith("sampling: about 13 min for the remaining 8, ")
    assert told.endswith("; to shorten it, lower --size")
    assert lines[:2] == [
        "sampling: 2 of 10, about 13 min left",
        "sampling: 3 of 10, about 12 min left",
    ]


def test_quiet_has_no_progress() -> None:
    with console.progress_bar(quiet=True) as progress:
        assert progress is None


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("utf-8", b"a\xff.png \xc2\xb7\n"), ("ascii", b"a\\udcff.png \\xb7\n")],
)
def test_names_that_are_not_valid_text_are_printed(
    encoding: str, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    stdout.seek(0)
    stdout.truncate()
    stdout.write("a\udcff.png ·\n")
    stdout.flush()
    assert stdout.buffer.getvalue() == printed  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [np.linalg.LinAlgError("SVD did not converge."), OSError("x.")])
def test_a_message_that_ends_in_a_period_gets_no_second_one(error: Exception) -> None:
    told, code = explain(error)
    assert code == 1
    assert ".." not in told
    assert ". " in told
