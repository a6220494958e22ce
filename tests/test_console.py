"""Progress where stderr is a file: a line now and then, with the time left."""

from __future__ import annotations

import pytest

from latentlab.cli import console


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
    lines = captured.err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "sampling: 3 of 10, about 93 s left"  # 40 s for 3


def test_quiet_has_no_progress() -> None:
    with console.progress_bar(quiet=True) as progress:
        assert progress is None
