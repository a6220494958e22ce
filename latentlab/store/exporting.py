"""All latents of a store as one array in one file, written piece by piece."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from latentlab.errors import UsageError
from latentlab.machine.files import open_durably
from latentlab.store.lines import line_of
from latentlab.store.manifest import STORED_DTYPES
from latentlab.store.reading import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (".safetensors", ".npy", ".npz")
_ROWS = 64
_OPTIONS = ("stored", "float32")


def export_store(store: Store, path: Path, *, dtype: str = "stored") -> list[Path]:
    """Write all latents (n, C, h, w), and the paths of their pictures; return the files.

    ``.safetensors`` holds one tensor, ``.npy`` one array, and the paths are in ``<name>.jsonl``
    beside them, one JSON object a line. ``.npz`` holds ``latents`` and ``paths``.

    Parameters
    ----------
    store : Store, whose latents have one shape
    path : ends in .safetensors, .npy or .npz
    dtype : ``"stored"``, or ``"float32"``; NumPy has no bfloat16, so .npy and .npz get float32

    Raises
    ------
    ShapeError : the latents have several shapes.
    UsageError : another ending or dtype, or a file inside the store.
    FileError : the file cannot be written, or the store is damaged.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--out {path}", f"a name in {', '.join(SUFFIXES)}", "choose one of these")
    if dtype not in _OPTIONS:
        raise UsageError(f"--dtype {dtype}", " or ".join(_OPTIONS), "choose one of these")
    if store.folder.resolve() in path.resolve().parents:
        raise UsageError(
            f"--out {path}, which is inside the store", "a file elsewhere", "choose another --out"
        )
    kind = store.manifest.stored if dtype == "stored" else dtype
    if kind == "bfloat16" and path.suffix != ".safetensors":
        kind = "float32"
    shape = (len(store), *store.shape)
    if path.suffix == ".npz":
        return [_write_npz(store, path, shape, kind)]
    with open_durably(path) as file:
        file.write(_safetensors_head(shape, kind) if path.suffix != ".npy" else b"")
        if path.suffix == ".npy":
            _write_npy_head(file, shape, kind)
        for rows in _rows(store, kind):
            file.write(rows)
    paths = path.with_suffix(".jsonl")
    with open_durably(paths) as file:
        file.writelines(line_of({"path": name}) for name in store.paths())
    return [path, paths]


def _rows(store: Store, kind: str) -> Iterator[bytes]:
    """Yield the bytes of all latents, little-endian, in order."""
    import torch

    for latents in store.batches(_ROWS):
        values = latents.to(getattr(torch, kind)).contiguous()
        yield values.view(torch.uint8).numpy().tobytes()


def _safetensors_head(shape: tuple[int, ...], kind: str) -> bytes:
    size = int(np.prod(shape)) * (4 if kind == "float32" else 2)
    tensor = {"dtype": STORED_DTYPES[kind], "shape": list(shape), "data_offsets": [0, size]}
    head = json.dumps({"latents": tensor}, separators=(",", ":")).encode("ascii")
    head += b" " * (-len(head) % 8)  # as the format asks, so that tensors are aligned
    return len(head).to_bytes(8, "little") + head


def _write_npy_head(file: IO[bytes], shape: tuple[int, ...], kind: str) -> None:
    description = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)


def _write_npz(store: Store, path: Path, shape: tuple[int, ...], kind: str) -> Path:
    with open_durably(path) as file, zipfile.ZipFile(file, "w") as archive:
        with _member(archive, "latents.npy") as member:
            _write_npy_head(member, shape, kind)
            for rows in _rows(store, kind):
                member.write(rows)
        with _member(archive, "paths.npy") as member:
            np.lib.format.write_array(member, _names(store), allow_pickle=False)
    return path


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    # ZipInfo's own date is 1980, so that the same store gives the same bytes.
    return archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)


def _names(store: Store) -> NDArray[np.str_]:
    return np.array([*store.paths()], dtype=np.str_)
