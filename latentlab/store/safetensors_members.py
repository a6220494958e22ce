"""Tensors of safetensors files in archives, read a block of rows at a time.

The library of safetensors reads files on the disk alone. Their format is a length (8 bytes, little
endian), a JSON header of that length, and the bytes of the tensors without gaps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import IO, Any

import torch
from torch import Tensor

from latentlab.machine.parsing import parse_json
from latentlab.store.arrays import (
    FLOATS,
    OTHERS,
    Place,
    Rows,
    StoredArray,
    fault_of,
    readable,
    stored_as,
)

_DTYPES = {name: getattr(torch, dtype) for name, dtype in (FLOATS | OTHERS).items()}
_HEADER_BYTES = 100_000_000
"""As many as the library of safetensors trusts."""
_BLOCK_BYTES = 2**28
"""Most bytes that are read at once, but for a single entry along the first axis."""


def streamed_tensors(place: Place) -> list[StoredArray]:
    """Return the tensors of a safetensors file in an archive; nothing but its header is read.

    Raises
    ------
    FileError : the header is damaged, or does not describe the bytes that follow.
    """
    with readable(place), place.open() as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_HEADER_BYTES, place.size - 8):
            raise ValueError(f"a header of {length:,} bytes")
        pairs = parse_json(file.read(length), object_pairs_hook=tuple)
        heads = _heads_of(place, pairs)
        _check_offsets(place, heads, place.size - 8 - length)
        return [_array_of(place, name, head, 8 + length) for name, head in heads.items()]


def _heads_of(place: Place, pairs: Any) -> dict[str, dict[str, Any]]:
    """Return name → dtype, shape and offsets of each tensor."""
    heads: dict[str, dict[str, Any]] = {}
    if not isinstance(pairs, tuple):  # as objects are read, of which keys are text
        raise ValueError("a header that is no object")
    for name, head in pairs:
        if name == "__metadata__":
            continue
        if not isinstance(head, tuple):
            raise ValueError(f"a damaged header of {name}")
        if name in heads:
            raise fault_of(place, f"holds two arrays named {name}", "write one name for each")
        heads[name] = dict(head)
        if not _is_sound(**heads[name]):
            raise ValueError(f"a damaged header of {name}")
    return heads


def _is_sound(dtype: str, shape: Sequence[int], data_offsets: Sequence[int], **_: Any) -> bool:
    """Return whether the size of a tensor is that of its shape, as far as its dtype is known."""
    start, end = data_offsets
    whole = all(type(number) is int and number >= 0 for number in (*shape, start, end))
    whole = whole and isinstance(dtype, str)
    size = _DTYPES[dtype].itemsize if dtype in _DTYPES else 0
    return whole and (not size or end - start == size * math.prod(shape))


def _check_offsets(place: Place, heads: dict[str, dict[str, Any]], size: int) -> None:
    """Raise FileError unless the tensors fill the file without gaps."""
    at = 0
    for start, end in sorted(head["data_offsets"] for head in heads.values()):
        if start != at or end < start:
            raise ValueError("tensors that overlap or leave gaps")
        at = end
    if at != size:
        raise fault_of(place, f"is truncated: it has {size:,} of {at:,} bytes")


def _array_of(place: Place, name: str, head: dict[str, Any], begin: int) -> StoredArray:
    shape, kind = tuple(head["shape"]), head["dtype"]
    return stored_as(
        name, shape, kind, _rows_of(place, kind, shape, begin + head["data_offsets"][0])
    )


def _rows_of(place: Place, kind: str, shape: tuple[int, ...], start: int) -> Rows:
    def rows(most: int) -> Iterator[Tensor]:
        with readable(place), place.open() as file:
            if kind not in _DTYPES:
                raise ValueError(f"values of type {kind}")
            dtype, count = _DTYPES[kind], shape[0] if shape else 1
            entry = math.prod(shape[1:]) * dtype.itemsize
            most = max(1, min(most, _BLOCK_BYTES // max(1, entry)))
            file.seek(start)
            for first in range(0, count, most):
                n = min(most, count - first)
                yield _read(file, n * entry).view(dtype).reshape(n, *shape[1:])

    return rows


def _read(file: IO[bytes], size: int) -> Tensor:
    content = bytearray(file.read(size))
    if len(content) < size:
        raise EOFError(f"{len(content):,} of {size:,} bytes")
    return torch.frombuffer(content, dtype=torch.uint8) if size else torch.empty(0).byte()
