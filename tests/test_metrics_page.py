"""docs/metrics.md is what the metrics say about themselves."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_is_current() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "metrics_page.py"))["write_page"]()
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == written
