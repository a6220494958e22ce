"""Simulations run on several processes; results are written as they come and resumed."""

from __future__ import annotations

import json
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from claims import Cell, Claim, Measured, Outcome, Tally, all_claims

from latentlab.machine.files import write_bytes

Say = Callable[[str], None]
_TOGETHER = 10  # seeds between two writes
FRESH = 100_000
"""First seed of the full calibration: no rule was chosen by looking at it, as some were from 0."""


def runs_of(cell: Cell, quick: bool) -> int:
    """Return how many simulations of a cell are wanted."""
    return min(cell.runs, max(8, cell.runs // 20)) if quick else cell.runs


def read(claim: Claim, folder: Path | None) -> Measured:
    """Return what a claim's file holds; nothing if there is none."""
    path = None if folder is None else folder / f"{claim.name}.json"
    if path is None or not path.exists():
        return Measured()
    facts = json.loads(path.read_text())
    cells = {
        name: {figure: Tally(**sums) for figure, sums in figures.items()}
        for name, figures in facts["cells"].items()
    }
    # A cell that was renamed or removed is measured under its new name, or not at all.
    known = {cell.name for cell in claim.cells}
    cells = {cell: figures for cell, figures in cells.items() if cell in known}
    seeds = {cell: done for cell, done in facts.get("seeds", {}).items() if cell in known}
    return Measured(cells, facts["seconds"], seeds)


def write(claim: Claim, found: Measured, folder: Path) -> None:
    """Write a claim's file, complete or not at all."""
    text = json.dumps(asdict(found), indent=1)
    write_bytes(folder / f"{claim.name}.json", f"{text}\n".encode())


def measure(
    claim: Claim,
    folder: Path | None,
    *,
    quick: bool,
    jobs: int,
    cells: str = "",
    say: Say = print,
) -> Measured:
    """Return a claim's rates; only seeds that are not in its file yet are simulated.

    With a pattern, only cells whose name it matches.
    """
    found = read(claim, folder)
    wanted = [
        (cell.name, seeds)
        for cell in claim.cells
        if re.search(cells, cell.name) and (cell.needs is None or cell.needs.exists())
        for seeds in _batches(found.runs(cell.name), runs_of(cell, quick), 0 if quick else FRESH)
    ]
    for number, (cell_name, (outcomes, seconds)) in enumerate(_simulated(claim, wanted, jobs), 1):
        for outcome in outcomes:
            found.add(cell_name, outcome)
        found.seconds += seconds
        if folder is not None:
            write(claim, found, folder)
        say(f"{claim.name}: {number} of {len(wanted)} parts, {cell_name}")
    return found


def _batches(done: int, wanted: int, offset: int) -> Iterator[range]:
    for first in range(done, wanted, _TOGETHER):
        yield range(offset + first, offset + min(first + _TOGETHER, wanted))


def _simulated(
    claim: Claim, wanted: Sequence[tuple[str, range]], jobs: int
) -> Iterator[tuple[str, tuple[list[Outcome], float]]]:
    """Yield cell, and outcomes and seconds of each batch, in order."""
    names = [cell for cell, _ in wanted]
    if jobs < 2 or len(wanted) < 2:
        outcomes: Any = (_timed(claim.cell(name), seeds) for name, seeds in wanted)
        yield from zip(names, outcomes, strict=True)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as at:
        outcomes = at.map(_simulate_by_name, [claim.name] * len(names), wanted)
        yield from zip(names, outcomes, strict=True)


def _simulate_by_name(claim: str, part: tuple[str, range]) -> tuple[list[Outcome], float]:
    return _timed(all_claims()[claim].cell(part[0]), part[1])


def _timed(cell: Cell, seeds: range) -> tuple[list[Outcome], float]:
    """Return outcomes, and the processor time that they took, whatever else ran."""
    start = time.process_time()
    return simulate(cell, seeds), time.process_time() - start


def simulate(cell: Cell, seeds: range) -> list[Outcome]:
    """Return the outcomes of a cell for some seeds, as plain numbers."""
    return [{k: float(v) for k, v in cell.simulate(seed).items()} for seed in seeds]
