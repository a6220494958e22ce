"""The smallest run against ``import torch``: what every run costs before its model computes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from measuring import time_in_turn
from report import Options, Row, Say, Table, at_most, table_of
from sources import IMAGE

RUN = ["pca", IMAGE, "--size", "64", "-n", "8", "--nulls", "none", "-q"]
WAYS = {
    "import torch": ["-c", "import torch"],
    "latentlab": ["-m", "latentlab", *RUN],
}
THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
"""How the names of variables begin that change threads."""
_TIMES = ("seconds", "processor_seconds")


def measure(options: Options, say: Say) -> list[Row]:
    """Return wall and processor time of both ways, and their ratios to ``import torch``."""
    used: dict[str, list[float]] = {name: [] for name in WAYS}
    jobs = {name: partial(_use, used[name], words) for name, words in WAYS.items()}
    timings = time_in_turn(jobs, options.rounds)
    rows = [
        {"way": name, **timings[name].figures, "processor_seconds": median(used[name][1:])}
        for name in WAYS
    ]
    return [{**row, **{f"{key}_ratio": row[key] / rows[0][key] for key in _TIMES}} for row in rows]


def _use(used: list[float], words: Sequence[str]) -> None:
    used.append(processor_seconds_of(words))


def processor_seconds_of(words: Sequence[str], **variables: str) -> float:
    """Return the processor time of Python with these arguments, in an empty folder."""
    before = _of_children()
    with tempfile.TemporaryDirectory() as place:
        finish(start(words, place, variables))
    return _of_children() - before


def start(words: Sequence[str], place: str, variables: Mapping[str, str]) -> Any:
    """Start Python in a folder, with variables besides those that do not concern threads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(THREADS)}
    command = [sys.executable, *words]
    return subprocess.Popen(
        command, cwd=place, env=kept | variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process: Any) -> None:
    """Wait for a process, and raise RuntimeError with what it said if it failed."""
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(process.args[1:])} failed: {said.decode()[-500:]}")


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def targets(rows: Sequence[Row]) -> list[Row]:
    what = "smallest run / import torch"
    return [
        at_most(f"{what}, time", rows[1]["seconds_ratio"], 2.5),
        at_most(f"{what}, processor time", rows[1]["processor_seconds_ratio"], 2.5),
    ]


def tables(rows: Sequence[Row]) -> Table:
    return table_of(
        f"latentlab {' '.join(RUN)}",
        rows,
        ("way", "{way}"),
        ("seconds", "{seconds:.2f}"),
        ("× import torch", "{seconds_ratio:.2f}"),
        ("processor seconds", "{processor_seconds:.2f}"),
        ("× import torch, processor", "{processor_seconds_ratio:.2f}"),
    )
