"""Hooks of every run: slow tests first, and a run that skips what matters fails.

They import nothing heavy, so that ``test_suite_guard.py`` can try them in a process of their own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
_SKIPPED: dict[str, list[str]] = {"shared": [], "browser": []}


def what_browsers_lack() -> str | None:
    """Return why tests in a browser cannot run here; None where they can."""
    from webdriver import find_programs

    from latentlab.errors import LatentlabError
    from latentlab.web.pages import runtime_files

    if find_programs() is None:
        return "chromium or chromedriver is not installed"
    try:
        runtime_files()
    except LatentlabError as error:
        return str(error)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first, and skip ``shared`` or ``browser`` tests if what they need is absent.

    A slow test that comes last would keep all other workers waiting.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    lacking = {"shared": None if SHARED.is_dir() else "../shared is not beside this checkout"}
    if any(item.get_closest_marker("browser") for item in items):
        lacking["browser"] = what_browsers_lack()
    for item in items:
        for name, reason in lacking.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, skipped in _SKIPPED.items():
        if report.skipped and name in report.keywords:
            skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when tests were skipped that must not be.

    Those marked ``shared`` where ../shared is there, those marked ``browser`` where CI is set.
    """
    demanded = {"shared": SHARED.is_dir(), "browser": bool(os.environ.get("CI"))}
    present = {"shared": "../shared is present", "browser": "browser tests are demanded (CI)"}
    for name, skipped in _SKIPPED.items():
        if demanded[name] and skipped:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            raise pytest.UsageError(f"{present[name]} but skipped: {', '.join(skipped)}")
