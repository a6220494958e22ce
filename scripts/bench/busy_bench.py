"""Several runs at once on the same cores, with threads that sleep and that spin."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Job, time_in_turn
from report import Options, Row, Say, Table, at_most, table_of
from smallest_bench import finish, processor_seconds_of, start
from sources import IMAGE, model_of

AT_ONCE = 4
WAYS = {
    "latentlab": {},
    "threads that spin": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""OpenMP's own defaults are what latentlab replaces: 300,000 turns, or 200 ms."""
_ALONE, _TOGETHER = 12.7, 45.0
"""Seconds on two cores: alone, and four at once at most."""


def measure(options: Options, say: Say) -> Row:
    """Return wall and processor times of each way, alone and several at once."""
    source = model_of(options)
    source = str(Path(source).resolve()) if Path(source).exists() else source
    words = ["-m", "latentlab", "pca", IMAGE, "-m", source, "--size", str(options.size)]
    words += ["-n", str(options.busy_samples), "--nulls", "none", "-q"]
    say(f"one run and {AT_ONCE} at once, three ways")
    used: dict[str, list[float]] = {way: [] for way in WAYS}
    jobs: dict[str, Job] = {
        f"{way}, alone": partial(_alone, words, WAYS[way], used[way]) for way in WAYS
    }
    jobs |= {f"{way}, together": partial(_together, words, WAYS[way]) for way in WAYS}
    timings = time_in_turn(jobs, options.rounds, warm_up=False)
    return {
        "samples": options.busy_samples,
        "size": options.size,
        "cores": os.cpu_count(),
        "ways": [
            {
                "way": way,
                "alone": timings[f"{way}, alone"].median,
                "together": timings[f"{way}, together"].median,
                "processor_seconds": median(used[way]),
            }
            for way in WAYS
        ],
    }


def _alone(words: Sequence[str], variables: dict[str, str], used: list[float]) -> None:
    used.append(processor_seconds_of(words, **variables))


def _together(words: Sequence[str], variables: dict[str, str]) -> None:
    with ExitStack() as stack:
        places = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(AT_ONCE)]
        running: list[Any] = [start(words, place, variables) for place in places]
        for process in running:
            finish(process)


def targets(row: Row) -> list[Row]:
    ours, spinning = row["ways"][:2]
    at_once, most = f"{AT_ONCE} runs at once / one alone, time", _TOGETHER / _ALONE
    return [
        at_most(at_once, ours["together"] / ours["alone"], most),
        at_most("one run alone / with threads that spin", ours["alone"] / spinning["alone"], 1.03),
    ]


def tables(row: Row) -> Table:
    title = "pca, {size} px, {samples} samples, no nulls, on {cores} cores".format_map(row)
    return table_of(
        title,
        row["ways"],
        ("way", "{way}"),
        ("alone, seconds", "{alone:.1f}"),
        ("alone, processor seconds", "{processor_seconds:.1f}"),
        (f"{AT_ONCE} at once, seconds", "{together:.1f}"),
    )
