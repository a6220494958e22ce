"""How long the full calibration takes, from two simulations of every cell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from claims import Cell, Claim
from running import FRESH, Say

from latentlab.machine.files import write_bytes

NAME = "seconds.json"
_LONG = 15.0  # seconds


@dataclass(frozen=True)
class Cost:
    """Seconds of one core that a cell takes.

    Parameters
    ----------
    once : float, what every process computes before its first simulation, such as the truth
    each : float, of a simulation
    """

    once: float
    each: float


def cost_of(cell: Cell) -> Cost:
    """Return what a cell costs, from its first simulation and, if that was short, its second."""
    first = _seconds(cell, FRESH)
    second = first if first > _LONG else _seconds(cell, FRESH + 1)
    return Cost(max(first - second, 0.0), second)


def _seconds(cell: Cell, seed: int) -> float:
    """Return the processor time of one simulation, which other programs do not change."""
    start = time.process_time()
    cell.simulate(seed)
    return time.process_time() - start


def seconds_of(claim: Claim, costs: Mapping[str, Cost], jobs: int = 1) -> float:
    """Return the core seconds of all simulations of a claim in several processes."""
    known = ((cell, costs[cell.name]) for cell in claim.cells if cell.name in costs)
    return sum(jobs * cost.once + cell.runs * cost.each for cell, cost in known)


def estimate(claims: Iterable[Claim], folder: Path | None, jobs: int, say: Say = print) -> None:
    """Measure what every cell costs, say how long a full calibration takes, and keep it."""
    torch.set_num_threads(1)
    found = read_costs(folder)
    total = 0.0
    for claim in claims:
        cells = [cell for cell in claim.cells if cell.needs is None or cell.needs.exists()]
        found[claim.name] = {cell.name: cost_of(cell) for cell in cells}
        seconds = seconds_of(claim, found[claim.name], jobs)
        total += seconds
        say(f"{claim.name}: {seconds:,.0f} s")
        _write_costs(found, folder)
    say(f"{total:,.0f} s of one core; {total / jobs / 3600:.1f} h with --jobs {jobs}")


def _write_costs(found: Mapping[str, Mapping[str, Cost]], folder: Path | None) -> None:
    if folder is None:
        return
    facts = {
        claim: {cell: {k: round(v, 4) for k, v in vars(cost).items()} for cell, cost in of.items()}
        for claim, of in found.items()
    }
    write_bytes(folder / NAME, f"{json.dumps(facts, indent=1)}\n".encode())


def duration_in_words(claims: Mapping[str, Claim], folder: Path | None, jobs: int = 2) -> str:
    """Return how long a full calibration takes, from what was measured; empty if anything was not.

    ``scripts/calibration --estimate`` measures it.
    """
    costs = read_costs(folder)
    if not all(
        cell.name in costs.get(name, {}) for name, of in claims.items() for cell in of.cells
    ):
        return ""
    total = sum(seconds_of(claim, costs[name], jobs) for name, claim in claims.items())
    return (
        f"All runs take {total:,.0f} seconds of one core, {total / jobs / 3600:.1f} hours on "
        f"{jobs} (`--estimate` measures it). An interrupted calibration resumes."
    )


def read_costs(folder: Path | None) -> dict[str, dict[str, Cost]]:
    """Return claim → cell → Cost, as far as it was measured."""
    path = None if folder is None else folder / NAME
    if path is None or not path.exists():
        return {}
    facts = json.loads(path.read_text())
    return {claim: {cell: Cost(**cost) for cell, cost in of.items()} for claim, of in facts.items()}
