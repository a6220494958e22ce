"""Batch sizes, and transfers to and from a model's device."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from latentlab.errors import MemoryLimitError
from latentlab.loaders.base import LatentVAE
from latentlab.machine.memory import memory_errors

ADVICE = "pass --tile 512 or less, lower --size, or choose another --device"
_IN_CACHE = 2**15  # pixels: two images of 128 px, or half of one of 256
_LARGEST = 64
_WORTH = 1.1
_WARM_UPS, _TIMED = 2, 3

Half = Literal["encode", "decode"]
Run = Callable[[Tensor], Any]
Result = TypeVar("Result", covariant=True)


def batch_size(vae: LatentVAE, height: int, width: int, half: Half = "encode") -> int:
    """Return how many images of H×W pixels to run at once.

    On a CPU the batch that fits into its caches: one image from 182 px on. This is a rule and not
    measured, because the last digits of float32 results depend on the batch. Elsewhere the smallest
    power of two beyond which images per second rise by less than a tenth or memory runs out,
    measured once for each VAE, size and half. A compiled VAE is measured uncompiled, because each
    batch size would be compiled anew.
    """
    if vae.device.type == "cpu":
        return max(1, min(8, _IN_CACHE // (height * width)))
    known = vae.batch_sizes
    if (half, height, width) not in known:
        run, one = _half_of(vae, height, width, half)
        plain = torch.compiler.set_stance("force_eager") if vae.is_compiled else nullcontext()
        with plain:
            known[half, height, width] = fastest_batch(lambda count: _seconds(run, one, count))
        torch.cuda.empty_cache()  # the other batches do not need the memory of the largest
    return known[half, height, width]


def fastest_batch(seconds: Callable[[int], float]) -> int:
    """Return the smallest power of two with about the most images per second.

    Parameters
    ----------
    seconds : count → time that this many images take together; MemoryLimitError ends the search

    Examples
    --------
    >>> fastest_batch(lambda count: 1.0 + 0.1 * count)
    64
    >>> fastest_batch(lambda count: 0.1 * count)
    1
    """
    best, rate = 1, 1 / seconds(1)
    while best < _LARGEST:
        try:
            faster = 2 * best / seconds(2 * best)
        except MemoryLimitError:
            break
        if faster < _WORTH * rate:
            break
        best, rate = 2 * best, faster
    return best


def run_halving(run: Run, batch: Tensor, what: str) -> list[Any]:
    """Return the results of a batch (B, …): one, or several of its parts if memory ran out.

    Parameters
    ----------
    run : batch → result
    batch : Tensor, (B, …)
    what : str, for the message

    Raises
    ------
    MemoryLimitError : not enough memory for one image.
    """
    try:
        with torch.inference_mode(), memory_errors(what, ADVICE):
            return [run(batch)]
    except MemoryLimitError:
        if len(batch) == 1:
            raise
    torch.cuda.empty_cache()
    first, second = batch.tensor_split(2)
    return [*run_halving(run, first, what), *run_halving(run, second, what)]


class Begun(Protocol[Result]):
    """Work that a device was given."""

    def wait(self) -> Result:
        """Wait for its result and return it."""


@dataclass(frozen=True)
class Sent:
    """Values on their way to the CPU."""

    values: Tensor
    arrived: torch.cuda.Event | None = None

    def wait(self) -> Tensor:
        """Wait for the values and return them as a tensor that autograd may use."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.values.clone() if self.values.is_inference() else self.values


def send_to_cpu(values: Tensor) -> Sent:
    """Return values on their way to the CPU; from CUDA the copy overlaps with later work."""
    if values.device.type != "cuda":
        return Sent(values.cpu())
    there = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    there.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(values.device))
    return Sent(there, arrived)


def send_to_device(batch: Tensor, vae: LatentVAE) -> Tensor:
    """Return a batch on the VAE's device; to CUDA the copy overlaps with earlier work."""
    return pinned(batch, vae).to(vae.device, non_blocking=vae.runs_aside)


def pinned(batch: Tensor, vae: LatentVAE) -> Tensor:
    """Return a batch on the CPU that can be copied to the VAE's device asynchronously."""
    if vae.device.type != "cuda" or batch.is_cuda:
        return batch
    # Pinning does not write out one image that was expanded to many.
    return batch.contiguous().pin_memory()


def one_ahead(begun: Iterator[Begun[Result]], *, ahead: bool) -> Iterator[Result]:
    """Yield results in order; with ``ahead`` the next work begins before a result is awaited."""
    waiting: deque[Begun[Result]] = deque()
    for work in begun:
        waiting.append(work)
        if len(waiting) > ahead:
            yield waiting.popleft().wait()
    while waiting:
        yield waiting.popleft().wait()


def _half_of(vae: LatentVAE, height: int, width: int, half: Half) -> tuple[Run, Tensor]:
    """Return one half as a function, batch → Tensor, and one input (1, …) on the device."""
    if half == "encode":
        image = torch.zeros(1, 3, height, width, device=vae.device)
        return (lambda images: vae.encode(images).mean), image
    cells = vae.spec.latent_size((height, width))
    latent = torch.zeros(1, vae.spec.channels, *cells, device=vae.device)
    return vae.decode, latent


def _seconds(run: Run, one: Tensor, count: int) -> float:
    """Return how many seconds this many images take together, after a warm-up."""
    batch = one.expand(count, *one.shape[1:])
    times = []
    for _ in range(_WARM_UPS + _TIMED):
        start = time.perf_counter()
        with torch.inference_mode(), memory_errors("a batch", ADVICE):
            run(batch).flatten()[:1].cpu()  # waits until everything is computed
        times.append(time.perf_counter() - start)
    return statistics.median(times[_WARM_UPS:])
