"""IDX, the file format of MNIST: a magic number, big-endian sizes, then the bytes."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from latentlab.errors import FileError

# Two zero bytes, the type (8: unsigned bytes) and the number of dimensions.
_LABELS = 0x00000801
_PICTURES = 0x00000803
_LARGEST = 2**30
_GZIP = b"\x1f\x8b"


def read_idx_pictures(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the pictures (N, H, W), uint8, of an IDX file, gzipped or not.

    Raises
    ------
    FileError : the file is missing, truncated, longer than its header says, not IDX with three
        dimensions of unsigned bytes, or larger than a gigabyte.
    """
    return _read(Path(path), _PICTURES, "pictures")


def read_idx_labels(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the labels (N,), uint8, of an IDX file, gzipped or not.

    Raises
    ------
    FileError : as for :func:`read_idx_pictures`, with one dimension.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "labels"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx_labels(file).tolist()
    [7, 2, 1]
    """
    return _read(Path(path), _LABELS, "labels")


def _read(path: Path, magic: int, what: str) -> NDArray[np.uint8]:
    try:
        with _open(path) as file:
            shape = _read_header(path, file, magic, what)
            wanted = math.prod(shape)
            content = file.read(wanted + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(
            f"{path}, which cannot be read ({error})",
            f"an IDX file of {what}, gzipped or not",
            "check the path, or download the file again",
        ) from error
    if len(content) != wanted:
        found = f"only {len(content):,}" if len(content) < wanted else f"more than {wanted:,}"
        raise FileError(
            f"{path} with {found} bytes of {what}",
            f"{wanted:,} bytes, as its header says",
            "download the file again",
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


def _read_header(path: Path, file: BinaryIO, magic: int, what: str) -> tuple[int, ...]:
    dimensions = magic & 0xFF
    size = 4 + 4 * dimensions
    header = file.read(size)
    found = header[:4].hex()
    if found != f"{magic:08x}":
        raise FileError(
            f"{path} that begins with {found or 'nothing'}",
            f"{magic:08x}, the first bytes of an IDX file of {what}",
            f"pass a file of {what}",
        )
    if len(header) < size:
        raise FileError(
            f"{path}, which ends in its header", "a complete IDX file", "download the file again"
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if not 0 < math.prod(shape) <= _LARGEST:
        raise FileError(
            f"{path} with a header for {' × '.join(map(str, shape))} bytes",
            f"1 to {_LARGEST:,} bytes",
            "check that this is MNIST or a data set in its format",
        )
    return shape
