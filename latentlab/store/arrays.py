"""Where arrays are stored: a place in the file system or in an archive, and an array in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import IO

import torch
from torch import Tensor

from latentlab.errors import FileError
from latentlab.loaders.weights import DAMAGE
from latentlab.machine.files import ARCHIVE_DAMAGE
from latentlab.machine.memory import check_memory

Rows = Callable[[int], Iterator[Tensor]]

FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
"""Name in a safetensors file → name of the dtype."""
OTHERS = (
    {"BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
    | {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}
    | {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
)
"""The same of numbers that are taken for latents only if they are asked for."""
_FREE_BYTES = 2**26
_EXPANSION = 50
"""Numbers of latents hardly compress; an archive that expands more than this is no set of them."""
_COPY = "copy it again, or write it anew"


@dataclass(frozen=True)
class StoredArray:
    """One array of a file.

    Parameters
    ----------
    name : str, its key; "" in a file of one array without a name
    shape : as it is stored
    dtype : str, such as ``"float16"``
    rows : n → iterator of Tensors of at most n entries along the first axis, in their own dtype
    unread : str, why its rows cannot be read; "" if they can
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    rows: Rows
    unread: str = ""

    @property
    def is_float(self) -> bool:
        """Return whether the numbers may be latents."""
        return self.dtype in FLOATS.values()

    def whole(self) -> Tensor:
        """Return the array; for small ones."""
        # Without a number it costs nothing to claim 2**60 rows, which would be read for ever.
        return torch.cat([*self.rows(2**20)]) if self.shape and all(self.shape) else torch.zeros(0)


@dataclass(frozen=True)
class Place:
    """A file, or a member of an archive.

    Parameters
    ----------
    path : Path of the file on disk
    name : str, shown and kept; of a member ``<archive>/<member>``
    size : int, bytes of the file or member
    reopen : what returns the bytes of a member; None for a file itself
    """

    path: Path
    name: str
    size: int
    reopen: Callable[[], IO[bytes]] | None = field(default=None, compare=False)

    @property
    def suffix(self) -> str:
        """Return the suffix in lower case."""
        return Path(self.name).suffix.lower()

    def open(self) -> IO[bytes]:
        """Return the bytes, to be read from the start."""
        return self.path.open("rb") if self.reopen is None else self.reopen()

    def content(self) -> bytes:
        """Return all bytes.

        Raises
        ------
        MemoryLimitError : they do not fit into the memory.
        """
        check_memory(self.size, f"{self.name}, which is read as a whole", "unpack the archive")
        with self.open() as file:
            return file.read()


def pieces(values: Tensor, most: int) -> Iterator[Tensor]:
    """Yield at most this many entries along the first axis at a time."""
    for first in range(0, len(values), most):
        yield values[first : first + most]


@contextmanager
def readable(place: Place) -> Iterator[None]:
    """Turn what readers raise for damaged bytes into one FileError that names the place."""
    from safetensors import SafetensorError

    try:
        yield
    except UnpicklingError as error:
        raise fault_of(
            place,
            "is a pickle that wants to run code, or damaged",
            "save its tensors as .safetensors or .npy with the program that wrote it",
        ) from error
    except (*DAMAGE, *ARCHIVE_DAMAGE, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise fault_of(place, f"cannot be read ({first})") from error


def fault_of(place: Place, what: str, advice: str = _COPY) -> FileError:
    """Return the error for a place whose content is not what it should be."""
    return FileError(f"{place.name}, which {what}", "a whole file of plain arrays", advice)


def stored_as(name: str, shape: tuple[int, ...], kind: str, rows: Rows) -> StoredArray:
    """Return a tensor of a safetensors file, whose kind is such as ``"F16"``."""
    dtype = (FLOATS | OTHERS).get(kind, kind.lower())
    known = kind in FLOATS or kind in OTHERS
    return StoredArray(name, shape, dtype, rows, "" if known else f"it has numbers of type {kind}")


def check_temporary(name: str, size: int) -> None:
    """Raise FileError if the temporary folder has no room for so many bytes of a member."""
    top = tempfile.gettempdir()
    free = shutil.disk_usage(top).free
    if size > free:
        raise FileError(
            f"{name}, which needs {size / 1e9:,.1f} GB in {top}, where {free / 1e9:,.1f} GB "
            "is free",
            "a whole file of plain arrays",
            "unpack the archive yourself, or set TMPDIR to a larger disk",
        )


def expands_too_much(size: int, total: int) -> bool:
    """Return whether an archive of ``size`` bytes that holds ``total`` is no set of latents."""
    return total > _FREE_BYTES and total > _EXPANSION * size


def check_expansion(place: Place, total: int) -> None:
    """Raise FileError if the members of an archive are far larger than the archive."""
    if expands_too_much(place.size, total):
        raise fault_of(
            place,
            f"expands from {place.size / 1e6:,.1f} MB to {total / 1e6:,.0f} MB, like a zip bomb",
            "write it anew without compression if you trust it",
        )
