"""The available memory, and matrices that may be larger than it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from latentlab.errors import MemoryLimitError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

MEMORY_VARIABLE = "LATENTLAB_MEMORY_GB"
_EXHAUSTED = (
    "allocate memory",  # torch on a CPU
    "out of memory",  # CUDA's runtime, for pinned memory
    "_STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
)


def available_memory() -> int:
    """Return the number of bytes that may be used: the free memory, at most LATENTLAB_MEMORY_GB.

    Raises
    ------
    UsageError : the variable is set to something other than a positive number.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    limit = os.environ.get(MEMORY_VARIABLE)
    if not limit:
        return free
    try:
        allowed = float(limit)
    except ValueError:
        allowed = 0.0
    if not allowed > 0:
        raise UsageError(
            f"{MEMORY_VARIABLE}={limit}",
            "a positive number of gigabytes",
            "set it to 8, for example",
        )
    return min(free, int(allowed * 1e9))


def peak_memory() -> int:
    """Return the most bytes that this process has had in memory so far."""
    import psutil

    process = psutil.Process()
    try:
        import resource
    except ImportError:  # Windows
        return int(getattr(process.memory_info(), "peak_wset", process.memory_info().rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def allocate_matrix(rows: int, columns: int) -> Tensor:
    """Return an uninitialized float32 matrix (rows, columns), on disk if memory is too small.

    Half of the available memory is the limit; beyond it the matrix is mapped from an unnamed
    file in the temporary folder (``TMPDIR``), which disappears with the matrix.

    Raises
    ------
    MemoryLimitError : it fits neither into memory nor onto the disk.
    """
    import torch

    size = rows * columns * 4
    if size <= available_memory() // 2:
        return torch.empty(rows, columns)
    import shutil

    import numpy as np

    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > 0.9 * free:
        raise MemoryLimitError(
            f"{rows:,} samples of {columns:,} features ({size / 1e9:,.1f} GB)",
            f"at most {available_memory() / 2e9:.1f} GB in memory or {0.9 * free / 1e9:.1f} GB "
            f"in {folder}",
            "lower --samples or --size, choose a --region, or set TMPDIR to a larger disk",
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        _reserve(file.fileno(), size, folder)
        mapped = np.memmap(file, dtype=np.float32, mode="w+", shape=(rows, columns))
    return torch.from_numpy(mapped)


def _reserve(descriptor: int, size: int, folder: str) -> None:
    """Reserve the file's blocks now: a disk that fills up later would end the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise MemoryLimitError(
            f"no room for {size / 1e9:,.1f} GB of samples in {folder} ({error.strerror})",
            "a disk that holds them",
            "lower --samples or --size, or set TMPDIR to a larger disk",
        ) from error


def check_memory(needed: int, what: str, advice: str) -> None:
    """Raise MemoryLimitError if a step needs more bytes than are available."""
    available = available_memory()
    if needed > available:
        raise MemoryLimitError(
            f"{what}, which needs about {needed / 1e9:,.1f} GB",
            f"at most {available / 1e9:.1f} GB",
            advice,
        )


def is_exhaustion(error: Exception) -> bool:
    """Return whether an error of any library means that memory is exhausted."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _EXHAUSTED)


@contextmanager
def memory_errors(what: str, advice: str) -> Iterator[None]:
    """Turn an allocator's failure inside the block into a MemoryLimitError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        raise MemoryLimitError(
            f"no memory left for {what}", "enough for one batch", advice
        ) from error
