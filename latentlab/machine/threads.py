"""The number of CPU threads, for small matrices and for results that depend on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_SMALL = 1024


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
