"""The suite itself: skipping tests that matter must not look green."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import conftest
import guard
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


BROWSER_SUITE = """
import pytest

@pytest.mark.browser
def test_that_needs_a_browser():
    pytest.skip("for whatever reason")
"""


def test_this_suite_has_the_hooks_that_are_tried_here() -> None:
    for hook in ("collection_modifyitems", "runtest_logreport", "sessionfinish"):
        assert getattr(conftest, f"pytest_{hook}") is getattr(guard, f"pytest_{hook}")


@pytest.mark.parametrize(("present", "code"), [(True, 4), (False, 0)])
def test_skipping_a_shared_test_fails_the_run_where_shared_is_present(
    tmp_path: Path, present: bool, code: int
) -> None:
    if present:
        (tmp_path / "shared").mkdir()
    done = run_suite(tmp_path / "checkout" / "tests", SUITE)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("present but skipped" in done.stdout + done.stderr) is present


@pytest.mark.parametrize(("setting", "code"), [("true", 4), ("", 0)])
def test_skipping_a_browser_test_fails_the_run_in_ci(
    tmp_path: Path, setting: str, code: int
) -> None:
    done = run_suite(tmp_path / "checkout" / "tests", BROWSER_SUITE, CI=setting)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("but skipped: " in done.stdout + done.stderr) is (code != 0)


def run_suite(tests: Path, suite: str, **settings: str) -> subprocess.CompletedProcess[str]:
    tests.mkdir(parents=True)
    shutil.copy(HERE / "guard.py", tests / "conftest.py")
    shutil.copy(HERE / "webdriver.py", tests)
    (tests / "test_suite.py").write_text(suite)
    markers = "    shared: needs ../shared\n    browser: needs Chromium\n"
    (tests.parent / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{markers}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    return subprocess.run(
        command,
        cwd=tests.parent,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
