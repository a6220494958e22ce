"""The number of CPU threads, for small matrices and for results that depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from threading import Thread
from typing import TypeVar

_SMALL = 1024

Result = TypeVar("Result")


def threads_for(side: int) -> AbstractContextManager[None]:
    """Return a context that uses one thread if symmetric matrices of this side are small.

    Many small products and eigenvalue problems gain nothing from more threads. On a busy machine,
    threads that wait for one another at every step make them a hundred times slower. With one
    thread, the results do not depend on the number of cores either.

    Examples
    --------
    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with threads_for(256):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    return fixed_threads(1 if side < _SMALL else None)


@contextmanager
def fixed_threads(count: int | None) -> Iterator[None]:
    """Use this number of threads inside the block; None keeps the current number.

    The number of threads changes the last digits of convolutions.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def begin(work: Callable[[], Result]) -> Future[Result]:
    """Return what will be the result of work that another thread does from now on.

    Nothing waits for that thread, not even the end of the process, so that an interrupt ends it at
    once. The work must write no files.

    Examples
    --------
    >>> begin(lambda: 6 * 7).result()
    42
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised where the result is asked for)
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
