"""Tensors read from weights files, without running code and without accepting damage."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from latentlab.errors import WeightsError
from latentlab.loaders.pickles import named_tensors, read_pickle
from latentlab.loaders.stated import STATED
from latentlab.machine.files import ARCHIVE_DAMAGE, sha256_of_file

DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
    struct.error,
)
"""What readers of torch, pickle and diffusers raise when bytes or options are missing or wrong."""

_OTHER_FORMATS = (
    (b"GGUF", "GGUF"),
    (b"\x89HDF", "HDF5, as Keras writes"),
    (b"\x93NUMPY", "NumPy"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf", "7z"),
)
_OTHER_SUFFIXES = {
    ".gguf": "GGUF",
    ".msgpack": "Flax",
    ".onnx": "ONNX",
    ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite",
    ".h5": "HDF5, as Keras writes",
    ".npz": "NumPy",
    ".engine": "TensorRT",
    ".mlmodel": "Core ML",
}
_SCALED = (".scale_weight", ".weight_scale")
_SCALED_LEFT = (".scale_input", ".input_scale", "scaled_fp8")


def damaged(got: str, expected: str) -> WeightsError:
    """Return the error for files that only another copy can repair."""
    return WeightsError(got, expected, "copy or download it again")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises
    ------
    WeightsError : the file cannot be read.
    """
    with _readable(path):
        return sha256_of_file(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by name, on the CPU and in the file's own dtype.

    safetensors files are read directly. In pickles (``.pth``, ``.ckpt``, ``.pt``, ``.bin``) nested
    names such as ``{"state_dict": ...}`` are joined by dots, numbers that state a scale count as
    tensors, and no code runs. Both are mapped into memory, so that unused tensors are never read.
    Weights in 8 bits with scales of their own are multiplied by them.

    Raises
    ------
    WeightsError : the file is unreadable, empty, truncated, not a weights file, has no tensors,
        is a pickle that would run code, or unpacks to many times its size.
    """
    start = _read_start(path)
    if not start:
        raise damaged(f"an empty file {path}", "weights")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}, a Git LFS pointer", "the file itself", "run `git lfs pull` in that folder"
        )
    if _is_safetensors(path, start):
        tensors = _read_safetensors(path)
    else:
        _refuse_other_formats(path, start)
        tensors = _read_pickle(path)
    if not tensors.keys() - STATED:
        raise WeightsError(
            f"{path} without tensors", "the weights of a VAE", "choose another weights file"
        )
    return _unscaled(tensors, path)


def _refuse_other_formats(path: Path, start: bytes) -> None:
    found = next((kind for sign, kind in _OTHER_FORMATS if start.startswith(sign)), None)
    kind = found or _OTHER_SUFFIXES.get(path.suffix.lower())
    if kind is not None:
        raise WeightsError(
            f"{path}, a file of {kind}",
            "weights of PyTorch (.safetensors, .ckpt, .pt, .pth or .bin)",
            "choose a file in one of these formats",
        )


def _unscaled(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return 8-bit weights times the scales beside them, which then are left out."""
    scales = {
        f"{name.removesuffix(suffix)}.weight": name
        for suffix in _SCALED
        for name in tensors
        if name.endswith(suffix)
    }
    if not scales:
        return tensors
    names = {*scales.values(), *(name for name in tensors if name.endswith(_SCALED_LEFT))}
    return {
        name: _times(name, tensor, tensors[scales[name]], path) if name in scales else tensor
        for name, tensor in tensors.items()
        if name not in names
    }


def _times(name: str, weight: Tensor, scale: Tensor, path: Path) -> Tensor:
    """Return a weight times its scale: one number, or one for each output channel."""
    first = weight.shape[0] if weight.ndim else 1
    rows = (first, *[1] * (weight.ndim - 1))
    if scale.numel() != 1 and scale.shape not in {(first,), rows, (first, 1)}:
        raise WeightsError(
            f"scales of shape {tuple(scale.shape)} for {name} {tuple(weight.shape)} in {path}",
            f"one number, or one for each of {first} output channels",
            "choose the weights in 16 or 32 bits",
        )
    factor = scale.float()
    return weight.float() * (factor.reshape(()) if scale.numel() == 1 else factor.reshape(rows))


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; empty for other formats.

    Raises
    ------
    WeightsError : the file cannot be read, or is damaged.
    """
    if not _is_safetensors(path, _read_start(path)):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, ValueError) as error:
        raise _broken(path, str(error)) from error


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Check that every weight is a finite number.

    Raises
    ------
    WeightsError : some are NaN or infinite; the message names the first such tensor.
    """
    for name, tensor in tensors.items():
        # torch.isfinite does not support float8.
        numbers = tensor.float() if tensor.element_size() == 1 else tensor
        if not torch.isfinite(numbers).all():
            raise WeightsError(
                f"NaN or infinite weights in {name} of {where}",
                "finite numbers",
                "choose another checkpoint, or save it in float32 if float16 overflowed",
            )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"{path}, which cannot be read ({error.strerror})",
            "a readable weights file",
            "check the path and its permissions",
        ) from error


def _read_start(path: Path) -> bytes:
    """Return the first 40 bytes of a file, which determine its format."""
    with _readable(path), path.open("rb") as stream:
        return stream.read(40)


def _is_safetensors(path: Path, start: bytes) -> bool:
    # A JSON header follows its own length. Files in the hub's cache have no suffix.
    return path.suffix == ".safetensors" or start[8:9] == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise _broken(path, str(error)) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        return named_tensors(read_pickle(path), keep=STATED)
    except (pickle.UnpicklingError, *ARCHIVE_DAMAGE, *DAMAGE) as error:
        raise _broken(path, type(error).__name__) from error


def _broken(path: Path, reason: str) -> WeightsError:
    first = reason.splitlines()[0] if reason else "damaged"
    return damaged(
        f"{path}, truncated or not a weights file ({first})",
        f"a complete {path.suffix or 'weights'} file",
    )
