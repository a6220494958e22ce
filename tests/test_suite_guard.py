"""The suite itself: skipping tests that matter must not look green."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUITE = """
import pytest

@pytest.mark.shared
def test_that_needs_shared():
    pytest.skip("for whatever reason")

def test_that_does_not():
    pass
"""


@pytest.mark.parametrize(("present", "code"), [(True, 4), (False, 0)])
def test_skipping_a_shared_test_fails_the_run_where_shared_is_present(
    tmp_path: Path, present: bool, code: int
) -> None:
    tests = tmp_path / "checkout" / "tests"
    tests.mkdir(parents=True)
    if present:
        (tmp_path / "shared").mkdir()
    for name in ("conftest.py", "linear_vae.py"):
        shutil.copy(HERE / name, tests)
    (tests / "test_suite.py").write_text(SUITE)
    (tests.parent / "pytest.ini").write_text("[pytest]\nmarkers =\n    shared: needs ../shared\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("present but skipped" in done.stdout + done.stderr) is present
