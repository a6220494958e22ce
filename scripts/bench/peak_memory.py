"""Print how many bytes one job needs at its peak, samples included: run in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from nulls_bench import fit_and_permute
from pca_bench import draw_samples, fit_with

STATUS = Path("/proc/self/status")


def peak_growth(job: Callable[[], Any]) -> int:
    """Return by how many bytes a job raises this process's resident memory at its peak."""
    _forget_peak()
    before = psutil.Process().memory_info().rss
    job()
    return _peak() - before


def _forget_peak() -> None:
    # Loading libraries has a peak of its own, which Linux forgets when told so.
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(method: str, rows: int, columns: int) -> None:
    """Print the peak of drawing samples and of fitting or permuting them, as JSON."""

    def work(samples: Any) -> Any:
        return fit_and_permute(samples) if method == "parallel" else fit_with(method, samples)

    work(draw_samples(64, 256))  # loads the libraries
    peak = peak_growth(lambda: work(draw_samples(rows, columns)))
    print(json.dumps({"peak_bytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
