"""Arrays in files that other programs wrote: names, shapes and rows, without running code.

Only headers are read at first. Rows of ``.npy`` and ``.npz`` are then streamed, and those of
``.pt`` and ``.safetensors`` mapped, so that memory does not depend on the size of a file.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from latentlab.errors import FileError
from latentlab.loaders.pickles import MOST_ENTRIES, walk
from latentlab.loaders.weights import DAMAGE
from latentlab.machine.files import ARCHIVE_DAMAGE

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")
Rows = Callable[[int], Iterator[Tensor]]

_FREE_BYTES = 2**26
_EXPANSION = 50
"""Numbers of latents hardly compress; an archive that expands more than this is no set of them."""
_ENTRY_BYTES = 2**30
"""Most bytes of one entry along the first axis, which is read at once."""
_FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
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
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    rows: Rows

    @property
    def is_float(self) -> bool:
        """Return whether the numbers may be latents."""
        return self.dtype in _FLOATS.values()

    def whole(self) -> Tensor:
        """Return the array; for small ones."""
        return torch.cat([*self.rows(2**20)]) if self.shape and self.shape[0] else torch.zeros(0)


@dataclass(frozen=True)
class Place:
    """A file, or a member of an uncompressed tar file.

    Parameters
    ----------
    path : Path of the file on disk
    name : str, shown and kept; of a member ``<tar>/<member>``
    offset, size : of a member in its tar file; size is that of the file otherwise
    """

    path: Path
    name: str
    size: int
    offset: int | None = None

    @property
    def suffix(self) -> str:
        """Return the suffix in lower case."""
        return Path(self.name).suffix.lower()

    def open(self) -> IO[bytes]:
        """Return the bytes, to be read from the start."""
        if self.offset is None:
            return self.path.open("rb")
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))


def pieces(values: Tensor, most: int) -> Iterator[Tensor]:
    """Yield at most this many entries along the first axis at a time."""
    for first in range(0, len(values), most):
        yield values[first : first + most]


def arrays_in(place: Place) -> list[StoredArray]:
    """Return the arrays of a file, by its content; nothing but headers is read.

    Raises
    ------
    FileError : the file is damaged or truncated, wants to run code (a pickle, an array of
        objects), has two arrays of one name, or expands like a zip bomb.
    """
    with readable(place):
        with place.open() as file:
            start = file.read(8)
        if not start:
            raise _fault(place, "is empty")
        if start.startswith(b"version "):
            raise _fault(place, "is a Git LFS pointer", "run `git lfs pull` in its folder")
        if start.startswith(b"\x93NUMPY"):
            return [_npy(place, "", place.open, place.size)]
        if start.startswith(b"PK"):
            return _zipped(place)
        if place.suffix == ".safetensors":
            return _safetensors(place)
        return _torch(place)


@contextmanager
def readable(place: Place) -> Iterator[None]:
    """Turn what readers raise for damaged bytes into one FileError that names the place."""
    from safetensors import SafetensorError

    try:
        yield
    except UnpicklingError as error:
        raise _fault(
            place,
            "is a pickle that wants to run code, or damaged",
            "save its tensors as .safetensors or .npy with the program that wrote it",
        ) from error
    except (*DAMAGE, *ARCHIVE_DAMAGE, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise _fault(place, f"cannot be read ({first})") from error


def _fault(place: Place, what: str, advice: str = _COPY) -> FileError:
    return FileError(f"{place.name}, which {what}", "a whole file of plain arrays", advice)


def _npy(place: Place, name: str, reopen: Callable[[], IO[bytes]], size: int) -> StoredArray:
    """Return an array in NumPy's format, whose rows are streamed."""
    with reopen() as file:
        shape, fortran, dtype = _header(file)
        start = file.tell()
    what = f"{name or 'its array'} " if name else ""
    if dtype.hasobject:
        raise _fault(
            place,
            f"holds {what or 'an array '}of Python objects, which needs a pickle",
            "save it again as an array of numbers",
        )
    count, entry = (shape[0] if shape else 1), math.prod(shape[1:]) * dtype.itemsize
    if size - start < count * entry:
        raise _fault(place, f"is truncated: {what}has {size - start:,} of {count * entry:,} bytes")
    if entry > _ENTRY_BYTES:
        raise _fault(place, f"holds {what}entries of {entry / 1e9:,.1f} GB each", "split it")

    def rows(most: int) -> Iterator[Tensor]:
        with readable(place), reopen() as file:
            if fortran or not shape:
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
    return readers[version](file)


def _tensor(values: Any) -> Tensor:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "V" and native.dtype.itemsize == 2:  # ml_dtypes' bfloat16
        return torch.from_numpy(native.view(np.uint16).view(np.int16)).view(torch.bfloat16)
    if native.dtype.kind not in "fiub":
        raise ValueError(f"values of type {native.dtype}")
    return torch.from_numpy(native)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "bfloat16" if dtype.kind == "V" and dtype.itemsize == 2 else dtype.name


def _zipped(place: Place) -> list[StoredArray]:
    """Return the arrays of a ``.npz``, or of a file of torch, which is a zip file too."""
    with place.open() as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    _check_expansion(place, members)
    names = [member.filename for member in members]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _fault(place, f"holds two arrays named {twice}", "write it with one name for each")
    if any(name.endswith("data.pkl") for name in names):
        return _torch(place)

    def opener(name: str) -> Callable[[], IO[bytes]]:
        return lambda: _Member(place, name)

    arrays = [member for member in members if member.filename.endswith(".npy")]
    return [
        _npy(place, member.filename.removesuffix(".npy"), opener(member.filename), member.file_size)
        for member in arrays
        if _is_numbers(place, opener(member.filename), len(arrays))
    ]


def _is_numbers(place: Place, reopen: Callable[[], IO[bytes]], count: int) -> bool:
    """Return whether a member is an array of numbers; texts beside others are left out."""
    with reopen() as file:
        return count == 1 or _header(file)[2].kind not in "US"


class _Member(io.BufferedReader):
    """A member of a zip file, which closes the zip file too."""

    def __init__(self, place: Place, name: str) -> None:
        self._file = place.open()
        self._archive = zipfile.ZipFile(self._file)
        super().__init__(self._archive.open(name), 2**20)  # type: ignore[arg-type]

    def close(self) -> None:
        super().close()
        self._archive.close()
        self._file.close()


def _check_expansion(place: Place, members: list[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)
    if total > _FREE_BYTES and total > _EXPANSION * place.size:
        raise _fault(
            place,
            f"expands from {place.size / 1e6:,.1f} MB to {total / 1e6:,.0f} MB, like a zip bomb",
            "write it anew without compression if you trust it",
        )


def _safetensors(place: Place) -> list[StoredArray]:
    from safetensors import safe_open
    from safetensors.torch import load

    def loaded() -> dict[str, Tensor]:
        with place.open() as file:
            return load(file.read())

    if place.offset is not None:
        return _reloaded(place, loaded)

    def rows_of(name: str) -> Rows:
        def rows(most: int) -> Iterator[Tensor]:
            with readable(place), safe_open(place.path, framework="pt") as file:
                part = file.get_slice(name)
                if not part.get_shape():
                    yield file.get_tensor(name)[None]
                    return
                for first in range(0, part.get_shape()[0], most):
                    yield part[first : first + most]

        return rows

    with safe_open(place.path, framework="pt") as file:
        heads = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return [
            StoredArray(
                name,
                tuple(head.get_shape()),
                _FLOATS.get(head.get_dtype(), head.get_dtype().lower()),
                rows_of(name),
            )
            for name, head in heads.items()
        ]


def _torch(place: Place) -> list[StoredArray]:
    """Return the tensors of a file of torch."""
    found = _reloaded(place, lambda: _loaded(place))
    if not found:
        raise _fault(place, "holds no tensors")
    return found


def _loaded(place: Place) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if place.offset is None and zipfile.is_zipfile(place.path):
            found = torch.load(place.path, "cpu", weights_only=True, mmap=True)
        else:
            with place.open() as file:
                found = torch.load(file, "cpu", weights_only=True)
    refusal = _fault(
        place,
        f"holds more than {MOST_ENTRIES:,} tensors, lists and mappings inside one another",
        "write each of its tensors once",
    )
    flat = ((".".join(path), value) for path, value in walk(found, _parts, refusal))
    return {name: _stacked(value) for name, value in flat if _is_array(value)}


def _parts(_: tuple[str, ...], found: Any) -> list[tuple[Any, Any]]:
    if _is_array(found) or not isinstance(found, list | tuple | dict):
        return []
    items = found.items() if isinstance(found, dict) else enumerate(found)
    return [(key, one) for key, one in items if isinstance(one, Tensor | list | tuple | dict)]


def _is_array(found: Any) -> bool:
    """Return whether something is a tensor, or a list of tensors that can be stacked."""
    if isinstance(found, list | tuple) and found:
        return all(_alike(one, found[0]) for one in found)
    return isinstance(found, Tensor)


def _stacked(found: Any) -> Tensor:
    return (found if isinstance(found, Tensor) else torch.stack([*found])).detach()


def _alike(one: Any, first: Any) -> bool:
    both = isinstance(one, Tensor) and isinstance(first, Tensor)
    return both and one.shape == first.shape and one.dtype == first.dtype


def _reloaded(place: Place, load: Callable[[], dict[str, Tensor]]) -> list[StoredArray]:
    """Return the tensors of a file that is opened anew for each reading.

    A process may map only some ten thousand files at once.
    """

    def rows_of(name: str) -> Rows:
        def rows(most: int) -> Iterator[Tensor]:
            with readable(place):
                tensor = load()[name]
            yield from pieces(tensor if tensor.ndim else tensor[None], most)

        return rows

    found = []
    for name, tensor in load().items():
        _check_dense(place, name, tensor)
        dtype = str(tensor.dtype).removeprefix("torch.")
        found.append(StoredArray(name, tuple(tensor.shape), dtype, rows_of(name)))
    return found


def _check_dense(place: Place, name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise _fault(place, f"holds {name or 'a tensor'} that is sparse or quantized")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise _fault(place, f"claims more values in {name or 'its tensor'} than it holds")
