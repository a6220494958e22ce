"""All latents of a store as one array in one file, written piece by piece."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from latentlab.errors import UsageError
from latentlab.machine.files import open_durably
from latentlab.store.lines import line_of
from latentlab.store.manifest import STORED_DTYPES
from latentlab.store.reading import Store

SUFFIXES = (".safetensors", ".npy", ".npz")
_ROWS = 64
_OPTIONS = ("stored", "float32")


def export_store(store: Store, path: Path, *, dtype: str = "stored") -> list[Path]:
    """Write all latents (n, C, h, w) and the paths of their images; return the files.

    ``.safetensors`` holds one tensor and ``.npy`` one array; the paths are in ``<name>.jsonl``
    beside them, one JSON object a line. ``.npz`` holds ``latents`` and ``paths``.

    Parameters
    ----------
    store : Store, whose latents have one shape
    path : ends in .safetensors, .npy or .npz
    dtype : ``"stored"`` or ``"float32"``; NumPy has no bfloat16, so .npy and .npz get float32

    Raises
    ------
    ShapeError : the latents have several shapes.
    UsageError : another suffix or dtype, or a file inside the store.
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
    if path.suffix == ".npz":
        _write_npz(store, path, kind)
        return [path]
    head = _safetensors_head if path.suffix == ".safetensors" else _npy_head
    with open_durably(path) as file:
        file.writelines(_pieces(store, head(store, kind), kind))
    paths = path.with_suffix(".jsonl")
    with open_durably(paths) as file:
        file.writelines(line_of({"path": name}) for name in store.paths())
    return [path, paths]


def _pieces(store: Store, head: bytes, kind: str) -> Iterator[bytes]:
    """Yield the bytes of a file: its head, and all latents in order, little-endian."""
    import torch

    yield head
    for latents in store.batches(_ROWS):
        values = latents.to(getattr(torch, kind)).contiguous()
        yield values.view(torch.uint8).numpy().tobytes()


def _safetensors_head(store: Store, kind: str) -> bytes:
    shape = (len(store), *store.shape)
    size = math.prod(shape) * (4 if kind == "float32" else 2)
    tensor = {"dtype": STORED_DTYPES[kind], "shape": shape, "data_offsets": [0, size]}
    head = json.dumps({"latents": tensor}, separators=(",", ":")).encode("ascii")
    head += b" " * (-len(head) % 8)  # the format asks for aligned tensors
    return len(head).to_bytes(8, "little") + head


def _npy_head(store: Store, kind: str) -> bytes:
    head = io.BytesIO()
    shape = (len(store), *store.shape)
    description = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, description)
    return head.getvalue()


def _write_npz(store: Store, path: Path, kind: str) -> None:
    with open_durably(path) as file, zipfile.ZipFile(file, "w") as archive:
        with _member(archive, "latents.npy") as member:
            member.writelines(_pieces(store, _npy_head(store, kind), kind))
        with _member(archive, "paths.npy") as member:
            names = np.array([*store.paths()], dtype=np.str_)
            np.lib.format.write_array(member, names, allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    # The default date of ZipInfo is 1980, so that the same store gives the same bytes.
    return archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)
