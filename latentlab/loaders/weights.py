"""Tensors read from weights files, without running code and without accepting damage."""

from __future__ import annotations

import pickle
import pickletools
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from latentlab.errors import WeightsError
from latentlab.machine.files import sha256_of_file

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

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def damaged(got: str, expected: str) -> WeightsError:
    """Return the error for files that only a new download can repair."""
    return WeightsError(got, expected, "download it again")


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

    safetensors files are read directly. Pickles (``.pth``, ``.ckpt``, ``.pt``, ``.bin``) are read
    with ``weights_only=True``, and one level of wrapping such as ``{"state_dict": ...}`` is
    removed. Both are mapped into memory, so that unused tensors are never read.

    Raises
    ------
    WeightsError : the file is unreadable, empty, truncated, not a weights file, has no tensors,
        or is a pickle that would run code.
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
        tensors = _read_pickle(path, mapped=start.startswith(b"PK\x03\x04"))
    if not tensors:
        raise WeightsError(
            f"{path} without tensors", "the weights of a VAE", "choose another weights file"
        )
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; empty for other formats."""
    if not _is_safetensors(path, _read_start(path)):
        return {}
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


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
                "download the file again, or choose another checkpoint",
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


def _read_pickle(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            # torch warns about unusual pickle protocols and TorchScript before it refuses them.
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError) as error:
        if _wants_code(path, str(error)):
            raise WeightsError(
                f"{path}, a pickle that would run code", "only tensors", "use a .safetensors file"
            ) from error
        raise _broken(path, type(error).__name__) from error
    except DAMAGE as error:
        raise _broken(path, type(error).__name__) from error
    return _only_tensors(loaded)


def _wants_code(path: Path, refusal: str) -> bool:
    if "unsupported global" in refusal.lower() or "TorchScript" in refusal:
        return True
    # torch refuses newer pickle protocols before it reaches the names that they would call.
    try:
        with path.open("rb") as stream:
            called = {opcode.name for opcode, _, _ in pickletools.genops(stream)}
    except DAMAGE:
        return False
    return bool(called & {"GLOBAL", "STACK_GLOBAL", "INST"})


def _only_tensors(loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        return {}
    inner = (loaded[name] for name in _WRAPPERS if isinstance(loaded.get(name), Mapping))
    named = next(inner, loaded)
    return {str(name): value for name, value in named.items() if isinstance(value, Tensor)}


def _broken(path: Path, reason: str) -> WeightsError:
    first = reason.splitlines()[0] if reason else "damaged"
    return damaged(
        f"{path}, truncated or not a weights file ({first})",
        f"a complete {path.suffix or 'weights'} file",
    )
