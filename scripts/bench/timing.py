"""Jobs timed in turn, and how fast this machine multiplies matrices meanwhile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SIDES = (1024, 2048)
"""Square products of these sides tell the machine's rate: neither too small nor cold."""
CUDA_SIDES = (4096, 8192)
_CUDA_REPEATS = 10
"""Products in a row on a GPU, whose clock is too fast for the first millisecond."""

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


def square_products(dtype: str = "float32", *, device: str = "cpu") -> dict[str, Job]:
    """Return the matrix products of a dtype that measure its ceiling on a device, as jobs."""
    import torch

    jobs = {}
    for side in _sides(device):
        square = torch.rand(side, side).to(device, getattr(torch, dtype))
        product = _repeated(_product(square), _repeats(device))
        jobs[_product_name(dtype, side)] = waited_for(product, device)
    return jobs


def ceiling(timings: Mapping[str, Timing], dtype: str = "float32", *, device: str = "cpu") -> float:
    """Return the machine's rate in FLOP/s: that of the faster of the square products."""
    return max(
        _product_flops(side, device) / timings[_product_name(dtype, side)].median
        for side in _sides(device)
    )


def shares_of_ceiling(
    work: float,
    job: Timing,
    timings: Mapping[str, Timing],
    dtype: str = "float32",
    *,
    device: str = "cpu",
) -> list[float]:
    """Return the shares of the machine's rate that a job reached, round by round.

    On a machine whose speed changes from minute to minute, only what was timed together compares.

    Parameters
    ----------
    work : float, FLOP of the job
    job : Timing of it, in turn with the products in ``timings``
    """
    products = [(side, timings[_product_name(dtype, side)].seconds) for side in _sides(device)]
    shares = []
    for number, seconds in enumerate(job.seconds):
        rate = max(_product_flops(side, device) / times[number] for side, times in products)
        shares.append(work / seconds / rate)
    return shares


class Products:
    """Square products of a dtype on the CPU, timed again and again beside something else."""

    def __init__(self, dtype: str = "float32") -> None:
        self.jobs = square_products(dtype)
        self.seconds: dict[str, list[float]] = {name: [] for name in self.jobs}
        for job in self.jobs.values():
            job()

    def measure(self, *_: object) -> None:
        """Time each square product once."""
        for name, job in self.jobs.items():
            start = time.perf_counter()
            job()
            self.seconds[name].append(time.perf_counter() - start)

    @property
    def spent(self) -> float:
        """Return the time that all of them took."""
        return sum(map(sum, self.seconds.values()))

    @property
    def count(self) -> int:
        """Return how often each was timed."""
        return min(map(len, self.seconds.values()))

    def rate(self, since: int = 0) -> float:
        """Return the FLOP/s of the faster product over all its times since the one of a number."""
        measured = (times[since:] for times in self.seconds.values())
        return max(
            2 * side**3 * len(times) / sum(times)
            for side, times in zip(SIDES, measured, strict=True)
        )


class Meanwhile:
    """A job of a module's layers, and the machine's rate while it runs.

    Square products run between the layers and their time is taken off, so that a machine whose
    speed changes within seconds changes job and products alike.

    Parameters
    ----------
    job : runs the module on the CPU, layer by layer
    module : whose convolutions the products run between, about ten times
    dtype : of the products
    """

    def __init__(self, job: Job, module: Any, dtype: str) -> None:
        from torch import nn

        self.job = job
        self.products = Products(dtype)
        self.layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
        self.every = max(1, len(self.layers) // 10)
        self.seconds: list[float] = []
        self.rates: list[float] = []

    def __call__(self) -> Any:
        since, before = self.products.count, self.products.spent
        hooks = [layer.register_forward_hook(self._after) for layer in self.layers]
        self._calls = 0
        start = time.perf_counter()
        try:
            result = self.job()
        finally:
            seconds = time.perf_counter() - start
            for hook in hooks:
                hook.remove()
        self.seconds.append(seconds - (self.products.spent - before))
        self.rates.append(self.products.rate(since))
        return result

    def shares(self, work: float) -> list[float]:
        """Return for each call how much of the machine's rate a job of so many FLOP reached."""
        return [
            work / seconds / rate for seconds, rate in zip(self.seconds, self.rates, strict=True)
        ]

    def _after(self, *_: object) -> None:
        self._calls += 1
        if self._calls % self.every == 0:
            self.products.measure()


def waited_for(job: Job, device: str) -> Job:
    """Return a job that ends when what it began on a device has ended."""
    if not device.startswith("cuda"):
        return job
    import torch

    def wait() -> Any:
        result = job()
        torch.cuda.synchronize()
        return result

    return wait


def _sides(device: str) -> tuple[int, ...]:
    return CUDA_SIDES if device.startswith("cuda") else SIDES


def _product_name(dtype: str, side: int) -> str:
    return f"{dtype} product {side}"


def _repeats(device: str) -> int:
    return _CUDA_REPEATS if device.startswith("cuda") else 1


def _product_flops(side: int, device: str) -> int:
    flops: int = 2 * side**3 * _repeats(device)
    return flops


def _product(square: Any) -> Job:
    return lambda: square @ square


def _repeated(job: Job, times: int) -> Job:
    def repeat() -> Any:
        for _ in range(times):
            result = job()
        return result

    return repeat
