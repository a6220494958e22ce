"""For every number that latentlab prints: an oracle that is not latentlab, and today's difference.

**Adding a number.** Write a function that returns the number as latentlab computes it and as the
oracle does, in a file ``NAME_oracles.py`` of this folder, which is found by its name::

    @oracle(
        numbers=("participation_ratio",),       # keys of the glossary, or names of metrics
        by="NumPy: (tr S)² / tr S²",            # what the oracle is
        tolerance=1e-9,                          # largest difference, as a share of the oracle
        test="test_nulls.py::test_fits_…",       # the test that holds it
    )
    def ratio() -> Pair:
        return ours, theirs

A number that has no oracle here, because it takes too long or is random, is named in
``held_elsewhere.py`` with the test that holds it. The site is not built if a difference is larger
than its tolerance, or if a number of the glossary has neither.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from staging import ROOT

Pair = tuple[Any, Any]
"""The number as latentlab computes it, and as the oracle does: arrays of one shape."""
_FOUND: dict[str, list[Oracle]] = {}


@dataclass(frozen=True)
class Oracle:
    """One comparison: the numbers that it holds for, and what they are compared with."""

    numbers: tuple[str, ...]
    by: str
    tolerance: float
    test: str
    compute: Callable[[], Pair]

    def difference(self) -> float:
        """Return the largest difference, divided by the largest value of the oracle."""
        ours, theirs = (np.asarray(one, np.float64) for one in self.compute())
        assert ours.shape == theirs.shape, (self.numbers, ours.shape, theirs.shape)
        size = float(np.abs(theirs).max()) or 1.0
        return float(np.abs(ours - theirs).max()) / size


@dataclass(frozen=True)
class Row:
    """An oracle with today's difference."""

    oracle: Oracle
    difference: float

    @property
    def holds(self) -> bool:
        """Return whether the difference is within the tolerance; NaN is not."""
        return bool(self.difference <= self.oracle.tolerance)


def oracle(
    *, numbers: Iterable[str], by: str, tolerance: float, test: str
) -> Callable[[Callable[[], Pair]], Callable[[], Pair]]:
    """Return a decorator that keeps a comparison; see the top of this file."""

    def keep(compute: Callable[[], Pair]) -> Callable[[], Pair]:
        found = Oracle(tuple(numbers), by, tolerance, test, compute)
        _FOUND.setdefault(compute.__module__, []).append(found)
        return compute

    return keep


def all_oracles() -> dict[str, list[Oracle]]:
    """Return heading → the comparisons of one file, each in the order of the file."""
    files = sorted(Path(__file__).parent.glob("*_oracles.py"))
    modules = sorted((import_module(path.stem) for path in files), key=lambda one: one.PLACE)
    return {one.HEADING: _FOUND[one.__name__] for one in modules}


def compare() -> dict[str, list[Row]]:
    """Return heading → every comparison with today's difference."""
    return {
        heading: [Row(one, one.difference()) for one in several]
        for heading, several in all_oracles().items()
    }


def broken(rows: Mapping[str, Iterable[Row]]) -> list[str]:
    """Return a sentence for every difference that is larger than its tolerance."""
    return [
        f"{', '.join(row.oracle.numbers)}: {row.difference:.3g} from {row.oracle.by}, "
        f"more than {row.oracle.tolerance:g}."
        for several in rows.values()
        for row in several
        if not row.holds
    ]


def keys_of_the_glossary() -> set[str]:
    """Return every key that docs/glossary.md explains."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def metrics() -> set[str]:
    """Return the name of every metric, with the scores of codes."""
    from latentlab.measures import MEASURES

    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    scores = re.findall(r"^\| (`.*?`) \|", text.split("## Disentanglement")[1], re.MULTILINE)
    return {*MEASURES.names(), *re.findall(r"`(\w+)`", " ".join(scores))}


@cache
def tests_of(file: str) -> frozenset[str]:
    """Return the names of the tests in a file of tests/."""
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
