"""Arrays in NumPy's format, alone or in a ``.npz``; their rows are streamed."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from tokenize import TokenError
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor

from latentlab.machine.files import FileState, state_of
from latentlab.machine.memory import check_memory
from latentlab.store.arrays import (
    Place,
    StoredArray,
    check_expansion,
    fault_of,
    pieces,
    readable,
)

_HEADER_BYTES = 10_000
"""As many as NumPy trusts."""
_OBJECTS = "it holds Python objects, which need a pickle"
_ENTRY_BYTES = 2**30
"""Most bytes of one entry along the first axis, which is read at once."""


def array_of(place: Place, name: str, reopen: Callable[[], IO[bytes]], size: int) -> StoredArray:
    """Return an array in NumPy's format, whose rows are streamed."""
    with reopen() as file:
        shape, fortran, dtype = _header(file)
        start = file.tell()
    what = f"{name or 'its array'} " if name else ""
    if dtype.hasobject:
        raise fault_of(
            place,
            f"holds {what or 'an array '}of Python objects, which needs a pickle",
            "save it again as an array of numbers",
        )
    if any(side < 0 for side in shape):
        raise fault_of(place, f"claims the shape {shape}")
    count, entry = (shape[0] if shape else 1), math.prod(shape[1:]) * dtype.itemsize
    if size - start < count * entry:
        raise fault_of(
            place, f"is truncated: {what}has {size - start:,} of {count * entry:,} bytes"
        )
    if entry > _ENTRY_BYTES:
        raise fault_of(place, f"holds {what}entries of {entry / 1e9:,.1f} GB each", "split it")

    def rows(most: int) -> Iterator[Tensor]:
        with readable(place), reopen() as file:
            if fortran or not shape:
                check_memory(count * entry, f"{place.name} in Fortran order", "save it in C order")
                whole = np.ascontiguousarray(np.lib.format.read_array(file, allow_pickle=False))
                yield from pieces(_tensor(whole.reshape(count, *shape[1:])), most)
                return
            _header(file)
            most = max(1, min(most, _ENTRY_BYTES // max(1, entry)))
            for first in range(0, count, most):
                n = min(most, count - first)
                content = file.read(n * entry)
                values = np.frombuffer(content, dtype).reshape(n, *shape[1:])
                yield _tensor(values.copy())

    return StoredArray(name, shape, _dtype_name(dtype), rows)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of NumPy's format")
    # NumPy reads a header of any length before it refuses a long one.
    length = int.from_bytes(cast(io.BufferedReader, file).peek(4)[: 2 * version[0]], "little")
    if length > _HEADER_BYTES:
        raise ValueError(f"a header of {length:,} bytes")
    try:
        return readers[version](file)
    except (SyntaxError, TokenError) as error:  # also of a type such as "(f4"
        raise ValueError(f"a damaged header ({error.args[0]})") from error


def _tensor(values: Any) -> Tensor:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "V" and native.dtype.itemsize == 2:  # ml_dtypes' bfloat16
        return torch.from_numpy(native.view(np.uint16).view(np.int16)).view(torch.bfloat16)
    if native.dtype.kind not in "fiub":
        raise ValueError(f"values of type {native.dtype}")
    return torch.from_numpy(native)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "bfloat16" if dtype.kind == "V" and dtype.itemsize == 2 else dtype.name


def members_of(place: Place) -> list[zipfile.ZipInfo]:
    """Return the members of a zip file.

    Raises
    ------
    FileError : two have one name, or they expand like a zip bomb.
    """
    members = _zip_of(place).infolist()
    check_expansion(place, sum(member.file_size for member in members))
    names = [member.filename for member in members]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise fault_of(place, f"holds two arrays named {twice}", "write it with one name for each")
    return members


def arrays_of(place: Place, members: list[zipfile.ZipInfo]) -> list[StoredArray]:
    """Return the arrays of a ``.npz``."""

    def opener(name: str) -> Callable[[], IO[bytes]]:
        return lambda: _member(place, name)

    arrays = [member for member in members if member.filename.endswith(".npy")]
    found = []
    for member in arrays:
        name, reopen = member.filename.removesuffix(".npy"), opener(member.filename)
        with reopen() as file:
            shape, _, dtype = _header(file)
        if dtype.hasobject and len(arrays) > 1:
            found.append(StoredArray(name, shape, "object", _no_rows, _OBJECTS))
        elif dtype.kind not in "US" or len(arrays) == 1:  # texts beside others are left out
            found.append(array_of(place, name, reopen, member.file_size))
    return found


def _no_rows(_: int) -> Iterator[Tensor]:
    """Return the rows of an array of Python objects, which are never read."""
    return iter(())


def _member(place: Place, name: str) -> IO[bytes]:
    return io.BufferedReader(_zip_of(place).open(name), 2**20)  # type: ignore[type-var]


def _zip_of(place: Place) -> zipfile.ZipFile:
    """Return a zip file, whose list of members is not read again for each of them."""
    return _opened(place, state_of(place.path))


@lru_cache(maxsize=1)
def _opened(place: Place, _: FileState) -> zipfile.ZipFile:
    return zipfile.ZipFile(place.path if place.reopen is None else place.open())
