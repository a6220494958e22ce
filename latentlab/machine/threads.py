"""How many threads work on small matrices, and on what must not depend on their number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_SMALL = 1024


@contextmanager
def threads_for(side: int) -> Iterator[None]:
    """Let one thread work inside the block where symmetric matrices of this side are small.

    Many small products and eigenvalue problems gain nothing from more, and on a busy machine
    threads that wait for one another at every step make them a hundred times slower. Results do
    not depend on the machine's cores then, either.

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
    with fixed_threads(1 if side < _SMALL else None):
        yield


@contextmanager
def fixed_threads(count: int | None) -> Iterator[None]:
    """Let so many threads work inside the block; as many as before where that is None.

    How convolutions are cut up among threads changes their last digits.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
