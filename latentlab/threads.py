"""How many threads work on small matrices."""

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
    import torch

    before = torch.get_num_threads()
    if side < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
