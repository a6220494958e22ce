"""Progress where stderr is a file: a line now and then, with the time left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import save_picture

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


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_names_that_are_no_text_are_printed(encoding: str, tmp_path: Path) -> None:
    picture = save_picture(tmp_path / os.fsdecode(b"a\xff.png"))
    done = subprocess.run(
        [sys.executable, "-m", "latentlab", "pca", picture, "-m", "linear", "--size", "32",
         "-n", "4", "--nulls", "none", "--quiet", "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") == 1
    shown = subprocess.run(
        [sys.executable, "-m", "latentlab", "pca", picture, "-m", "linear", "--size", "32",
         "-n", "4", "--nulls", "none"],
        cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert (b"a\xff" if encoding.startswith("utf") else b"a\\udcff") in shown.stdout
