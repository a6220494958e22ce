"""Time and memory of jobs, and how fast this machine multiplies matrices meanwhile."""

from __future__ import annotations

import math
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch

SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Square products of these sides show a machine's rate: neither too small nor cold."""
REPEATS = {"cpu": 1, "cuda": 10}
"""Products in a row: a GPU's clock is too coarse for the first millisecond."""
STATUS = Path("/proc/self/status")

Job = Callable[[], Any]
Jobs = Mapping[str, Job]


@dataclass(frozen=True)
class Timing:
    """Wall times of one job in seconds, one for each round, and what it returned last."""

    seconds: Sequence[float]
    result: Any = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def figures(self) -> dict[str, Any]:
        return {"seconds": self.median, "all_seconds": self.seconds}


def timed(job: Job) -> tuple[float, Any]:
    """Return the wall time of a job in seconds, and its result."""
    start = time.perf_counter()
    result = job()
    return time.perf_counter() - start, result


def time_in_turn(
    jobs: Jobs, rounds: int, *, fewer: Mapping[str, int] | None = None, warm_up: bool = True
) -> dict[str, Timing]:
    """Return the timings of jobs that take turns, so that what slows one slows all.

    Slow jobs may get fewer rounds, and then no warm-up either.
    """
    limits = fewer or {}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    results: dict[str, Any] = {}
    for name in [name for name in jobs if warm_up and name not in limits]:
        jobs[name]()
    for number in range(rounds):
        for name in [name for name in jobs if number < limits.get(name, rounds)]:
            took, results[name] = timed(jobs[name])
            seconds[name].append(took)
    return {name: Timing(seconds[name], results[name]) for name in jobs}


def ways_of(timings: Mapping[str, Timing]) -> dict[str, dict[str, Any]]:
    """Return times of each job, and their ratio to latentlab's."""
    ours = timings["latentlab"].median
    return {name: {**one.figures, "ratio": one.median / ours} for name, one in timings.items()}


def exponent_of(counts: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent of time as a power of a count, from two measurements."""
    return math.log(seconds[1] / seconds[0]) / math.log(counts[1] / counts[0])


def waited_for(job: Job, device: str) -> Job:
    """Return a job that ends when its work on a device has ended."""
    return (lambda: (job(), torch.cuda.synchronize())[0]) if device == "cuda" else job


def in_own_process(job: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a function that runs in a new Python process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(job, *arguments).result()


def peak_of(job: Job) -> tuple[int, int]:
    """Return this process's resident bytes before a job, and how many more it has at its peak."""
    if STATUS.exists():  # Linux forgets the peak of what came before, such as loading libraries
        Path("/proc/self/clear_refs").write_text("5")
    before = psutil.Process().memory_info().rss
    job()
    return before, _peak() - before


def _peak() -> int:
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Interlude:
    """A callback that runs another job every few calls and measures how long that takes.

    When a machine's speed changes within seconds, both sides of a ratio then change alike.
    """

    def __init__(self, job: Callable[..., Any], every: int, before: Job = lambda: None) -> None:
        self.job, self.every, self.before = job, every, before
        self.calls, self.seconds = 0, []

    def __call__(self, *arguments: Any) -> None:
        if self.calls % self.every == 0:
            self.before()
            self.seconds.append(timed(partial(self.job, *arguments))[0])
        self.calls += 1

    def time(self, job: Job) -> tuple[float, Any]:
        """Return the wall time of a job without the interludes that it called, and its result."""
        before = len(self.seconds)
        seconds, result = timed(job)
        return seconds - sum(self.seconds[before:]), result


def square_products(dtype: str, device: str) -> list[tuple[int, Job]]:
    """Return the FLOP and the job of each matrix product that measures a device's ceiling."""

    def product(side: int) -> Job:
        square = torch.rand(side, side).to(device, getattr(torch, dtype))
        return waited_for(lambda: [square @ square for _ in range(REPEATS[device])], device)

    return [(2 * side**3 * REPEATS[device], product(side)) for side in SIDES[device]]


class Products:
    """Square products of one dtype, timed again and again during another job."""

    def __init__(self, dtype: str = "float32", device: str = "cpu") -> None:
        self.products = square_products(dtype, device)
        self.turns: list[list[float]] = []
        self.measure()
        self.turns.clear()  # a warm-up

    def measure(self, *_: object) -> None:
        """Time each square product once."""
        self.turns.append([timed(job)[0] for _, job in self.products])

    def rate(self, since: int = 0, until: int | None = None) -> float:
        """Return the FLOP/s of the faster product over a range of turns."""
        times = zip(*self.turns[since:until], strict=True)
        measured = zip(self.products, times, strict=True)
        return max(flop * len(seconds) / sum(seconds) for (flop, _), seconds in measured)

    @property
    def median_rate(self) -> float:
        return statistics.median(self.rate(n, n + 1) for n in range(len(self.turns)))


class Meanwhile:
    """A job, and the rate of square products that are timed meanwhile.

    They run about ten times between the convolutions of a module. Without a module they run before
    the job, as they must where a device computes asynchronously or the layers are compiled.
    """

    def __init__(self, job: Job, dtype: str, device: str = "cpu", module: Any = None) -> None:
        self.job, self.products = job, Products(dtype, device)
        layers = module.modules() if module is not None else ()
        self.layers = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
        self.between = Interlude(self.products.measure, max(1, len(self.layers) // 10))
        self.seconds: list[float] = []
        self.rates: list[float] = []

    def __call__(self) -> Any:
        since = len(self.products.turns)
        hooks = [layer.register_forward_hook(self.between) for layer in self.layers]
        try:
            if not hooks:
                self.products.measure()
            seconds, self.result = self.between.time(self.job)
        finally:
            for hook in hooks:
                hook.remove()
        self.seconds.append(seconds)
        self.rates.append(self.products.rate(since))
        return self.result

    def shares(self, flop: float) -> list[float]:
        """Return the share of the machine's rate that each call of so many FLOP reached."""
        pairs = zip(self.seconds, self.rates, strict=True)
        return [flop / seconds / rate for seconds, rate in pairs]
