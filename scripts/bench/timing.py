"""Jobs timed in turn, and how fast this machine multiplies matrices meanwhile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SIDES = (1024, 2048)
"""Square products of these sides tell the machine's float32 rate: neither too small nor cold."""

Job = Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """Wall times of one job.

    Parameters
    ----------
    seconds : one for each round
    result : what the job returned last
    """

    seconds: tuple[float, ...]
    result: Any = None

    @property
    def median(self) -> float:
        """Return the median in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Target:
    """A figure beside the bound that it should keep.

    Parameters
    ----------
    name : str, with its unit
    value : float, measured
    bound : float
    at_least : bool, whether the bound is the smallest good value; else it is the largest
    """

    name: str
    value: float
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Return whether the value keeps its bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def time_in_turn(
    jobs: Mapping[str, Job], rounds: int, *, fewer: Mapping[str, int] | None = None
) -> dict[str, Timing]:
    """Return the timings of jobs that take turns, so that what slows one slows all.

    Parameters
    ----------
    jobs : name → function without arguments
    rounds : int
    fewer : name → rounds of jobs too slow for all of them; these get no warm-up either
    """
    limits = {name: (fewer or {}).get(name, rounds) for name in jobs}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    results: dict[str, Any] = {}
    for name, job in jobs.items():
        if name not in (fewer or {}):
            job()
    for _ in range(rounds):
        for name, job in jobs.items():
            if len(seconds[name]) < limits[name]:
                start = time.perf_counter()
                results[name] = job()
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(seconds[name]), results[name]) for name in jobs}


def square_products() -> dict[str, Job]:
    """Return the float32 matrix products that measure the ceiling, as jobs."""
    import torch

    return {f"product {side}": _product(torch.rand(side, side)) for side in SIDES}


def _product(square: Any) -> Job:
    return lambda: square @ square


def ceiling(timings: Mapping[str, Timing]) -> float:
    """Return the machine's rate in FLOP/s: that of the faster of the square products."""
    return max(2 * side**3 / timings[f"product {side}"].median for side in SIDES)
