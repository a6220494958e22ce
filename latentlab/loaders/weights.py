"""Tensors out of weights files, with nothing executed and nothing damaged let through."""

from __future__ import annotations

import pickle
import pickletools
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from latentlab.errors import WeightsError
from latentlab.machine.files import sha256_of_file

SUFFIXES = (".safetensors", ".pth", ".ckpt", ".pt", ".bin")
"""Kinds of weights files, the preferred one first."""

# what torch's and pickle's readers trip over when bytes are missing or wrong
_DAMAGE = (
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

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises
    ------
    WeightsError : the file cannot be read.
    """
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by name, on the CPU and in the file's own dtype.

    safetensors is read as it is. Pickles (``.pth``, ``.ckpt``, ``.pt``, ``.bin``) are read with
    ``weights_only=True``; one level of wrapping such as ``{"state_dict": ...}`` is taken off.
    Both are mapped into memory, so that tensors nobody asks for are never read.

    Raises
    ------
    WeightsError : the file is unreadable, empty, truncated, no weights file, holds no tensors,
        or is a pickle that wants to run code.
    """
    _check_readable(path)
    tensors = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    if not tensors:
        raise WeightsError(
            f"{path} without tensors", "the weights of a VAE", "choose another weights file"
        )
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return what a safetensors file says of itself; nothing for other formats."""
    if not _is_safetensors(path):
        return {}
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Pass where every weight is a finite number.

    Raises
    ------
    WeightsError : some are NaN or infinite; the message names the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not _is_finite(tensor):
            raise WeightsError(
                f"NaN or infinite weights in {name} of {where}",
                "finite numbers",
                "download the file again, or choose another checkpoint",
            )


def _is_finite(tensor: Tensor) -> bool:
    # float8 has no isfinite of its own
    numbers = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(numbers).all())


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(40)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not start:
        raise WeightsError(f"an empty file {path}", "weights", "download the file again")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}, a Git LFS pointer instead of weights",
            "the file itself",
            "run `git lfs pull` in that folder",
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        loaded = _load_weights_only(path)
    except (pickle.UnpicklingError, RuntimeError) as error:
        if _wants_code(path, str(error)):
            raise WeightsError(
                f"{path}, a pickle that wants to run code",
                "tensors alone",
                "get the .safetensors file of the same weights",
            ) from error
        raise _damaged(path, type(error).__name__) from error
    except _DAMAGE as error:
        raise _damaged(path, type(error).__name__) from error
    return _only_tensors(loaded)


def _load_weights_only(path: Path) -> Any:
    with warnings.catch_warnings():
        # torch warns of odd pickle protocols and TorchScript before it refuses them
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))


def _is_safetensors(path: Path) -> bool:
    # a JSON header behind its length; the hub's cache keeps files without a suffix
    with path.open("rb") as stream:
        return path.suffix == ".safetensors" or stream.read(9)[8:] == b"{"


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _wants_code(path: Path, refusal: str) -> bool:
    if "unsupported global" in refusal.lower() or "TorchScript" in refusal:
        return True
    # torch gives up on newer pickle protocols before it comes to what they would call
    try:
        with path.open("rb") as stream:
            called = {opcode.name for opcode, _, _ in pickletools.genops(stream)}
    except _DAMAGE:
        return False
    return bool(called & {"GLOBAL", "STACK_GLOBAL", "INST"})


def _only_tensors(loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(
        f"{path}, which cannot be read ({error.strerror})",
        "a readable weights file",
        "check the path and its permissions",
    )


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path}, truncated or no weights file ({reason.splitlines()[0] if reason else 'damaged'})",
        f"a complete {path.suffix or 'weights'} file",
        "download the file again",
    )
