"""Tensors in files of safetensors and torch: mapped; in archives streamed, or mapped from a copy.

No more of a file is in memory at once than a block of rows, but for small members of archives and
for files in torch's old format.
"""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from latentlab.loaders.pickles import MOST_ENTRIES, walk
from latentlab.machine.files import FileState, state_of
from latentlab.machine.memory import check_memory
from latentlab.store.arrays import (
    Place,
    Rows,
    StoredArray,
    check_temporary,
    fault_of,
    pieces,
    readable,
    stored_as,
)
from latentlab.store.safetensors_members import streamed_tensors

_SMALL_BYTES = 2**26
"""A member of an archive that is not larger is read into memory."""
_COPIES: set[Path] = set()
"""Folders of copies that are still there: Windows removes no file that is mapped."""


def safetensors_of(place: Place) -> list[StoredArray]:
    """Return the tensors of a safetensors file."""
    from safetensors import safe_open

    if place.reopen is not None:
        return streamed_tensors(place)

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
            stored_as(name, tuple(head.get_shape()), head.get_dtype(), rows_of(name))
            for name, head in heads.items()
        ]


def tensors_of(place: Place) -> list[StoredArray]:
    """Return the tensors of a file of torch."""
    found = _reloaded(place, lambda: _loaded(place))
    if not found:
        raise fault_of(place, "holds no tensors")
    return found


def _loaded(place: Place) -> dict[str, Tensor]:
    if place.reopen is None:
        return _tensors_in(place, place.path)
    if place.size > _SMALL_BYTES:
        try:
            return _mapped(place, state_of(place.path))
        finally:
            _remove_copies()
    return _tensors_in(place, io.BytesIO(place.content()))


@lru_cache(maxsize=1)
def _mapped(place: Place, _: FileState) -> dict[str, Tensor]:
    """Return the tensors of a large member of an archive, mapped from a copy.

    The copy lies in the temporary folder (``TMPDIR``), where its name is removed once it is mapped.
    Its content stays there until another large member is read.
    """
    check_temporary(place.name, place.size)
    folder = Path(tempfile.mkdtemp(prefix="latentlab-"))
    _COPIES.add(folder)
    copy = folder / "tensors"
    with place.open() as packed, copy.open("wb") as file:
        shutil.copyfileobj(packed, file, 2**20)
    return _tensors_in(place, copy)


def _remove_copies() -> None:
    """Remove the names of copies; where the system refuses, those that are no longer mapped."""
    for folder in [*_COPIES]:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            _COPIES.discard(folder)


@atexit.register
def _forget_copies() -> None:
    _mapped.cache_clear()
    _remove_copies()


def _tensors_in(place: Place, source: Path | IO[bytes]) -> dict[str, Tensor]:
    """Return the tensors of a file of torch: mapped if it is a file in its present format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(source, Path) and not zipfile.is_zipfile(source):
            check_memory(place.size, f"{place.name}, which is read as a whole", "save it anew")
            source = io.BytesIO(source.read_bytes())
        mapped = isinstance(source, Path)
        found = torch.load(source, "cpu", weights_only=True, mmap=mapped)
    refusal = fault_of(
        place,
        f"holds more than {MOST_ENTRIES:,} tensors, lists and mappings inside one another",
        "write each of its tensors once",
    )
    flat = ((".".join(path), value) for path, value in walk(found, _parts, refusal))
    tensors: dict[str, Tensor] = {}
    for name, value in flat:
        if _is_array(value):
            if name in tensors:
                raise fault_of(place, f"holds two tensors named {name}", "write it with other keys")
            tensors[name] = _stacked(place, value)
    return tensors


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


def _stacked(place: Place, found: Any) -> Tensor:
    """Return a tensor as it is, and a list of tensors as one, if it fits into the memory."""
    if isinstance(found, Tensor):
        return found.detach()
    size = len(found) * found[0].numel() * found[0].element_size()
    what = f"a list of {len(found):,} tensors in {place.name}"
    check_memory(size, what, "save it as one tensor, which is mapped, or as .npy")
    return torch.stack([*found]).detach()


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
        raise fault_of(place, f"holds {name or 'a tensor'} that is sparse or quantized")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise fault_of(place, f"claims more values in {name or 'its tensor'} than it holds")
