"""IDX, the file format of MNIST: a magic number, big-endian sizes, then the bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from latentlab.errors import FileError

# Two zero bytes, the type (8: unsigned bytes), and the number of dimensions.
_MAGIC = {"labels": 0x00000801, "images": 0x00000803}
_LARGEST = 2**30
_GZIP = b"\x1f\x8b"


def read_idx(path: Path, what: str) -> NDArray[np.uint8]:
    """Return the array, uint8, in an IDX file, gzipped or not.

    Parameters
    ----------
    path : of the file
    what : ``images``, for an array (N, H, W), or ``labels``, for (N,)

    Raises
    ------
    FileError : the file is missing, truncated, longer than its header says, larger than a
        gigabyte, or not an IDX file of unsigned bytes with this number of dimensions.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "labels"
    >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx(file, "labels").tolist()
    [7, 2, 1]
    """
    try:
        with _open(path) as file:
            shape = _read_header(path, file, what)
            wanted = math.prod(shape)
            content = file.read(wanted + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
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


def _read_header(path: Path, file: BinaryIO, what: str) -> tuple[int, ...]:
    found, magic = file.read(4).hex(), f"{_MAGIC[what]:08x}"
    if found != magic:
        raise FileError(
            f"{path} that begins with {found or 'nothing'}",
            f"{magic}, the first bytes of an IDX file of {what}",
            f"pass a file of {what}",
        )
    dimensions = _MAGIC[what] & 0xFF
    shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
    if not 0 < math.prod(shape) <= _LARGEST:
        raise FileError(
            f"{path} with a header for {' × '.join(map(str, shape))} bytes",
            f"1 to {_LARGEST:,} bytes",
            "check that this is MNIST or a data set in its format",
        )
    return shape
