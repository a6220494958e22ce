"""Encoder and decoder compiled by torch, where a run is long enough to repay it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from latentlab.errors import MissingExtraError, UsageError
from latentlab.loaders.base import LatentVAE

HALVES = ("encoder", "decoder")
_SIZES = 4
"""Sizes of pictures that get code of their own, before there is code for any size."""
_VERSIONS = 64
"""How many pieces of code torch may keep; by default 8, for all models of a process together."""


def compile_vae(vae: LatentVAE, *, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the encoder and decoder of a VAE in place; the first picture of a size is slow.

    On CUDA they are recorded as CUDA graphs, which repeat without the host. Derivatives take the
    layers as they were, since compiled code can be differentiated only once. Results differ from
    those before by rounding.

    Parameters
    ----------
    vae : LatentVAE with a torch module for each half, as all families but ``linear`` have
    backend : of ``torch.compile``

    Raises
    ------
    UsageError : a VAE without such modules.
    MissingExtraError : there is no C++ compiler, or no header of Python, which torch needs.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("mini")
    >>> compile_vae(vae, backend="eager")  # only traced, which takes no compiler
    >>> latentlab.encode(vae, "sample:flower", size=64).values.shape
    torch.Size([16, 8, 8])
    """
    module = getattr(vae, "module", None)
    halves: list[Any] = [getattr(module, name, None) for name in HALVES]
    if not all(isinstance(half, torch.nn.Module) for half in halves):
        raise UsageError(
            f"{vae.spec.name}, which has no encoder and decoder to compile",
            "a model made of torch modules",
            "leave --compile out",
        )
    if backend == "inductor":
        _require_compiler()
    config = torch._dynamo.config
    # recompile_limit, by the name that torch 2.6 knows too
    config.cache_size_limit = max(config.cache_size_limit, _VERSIONS)
    # Measured now and kept, because compiled code does not call the hooks that measure it.
    vae.activation_bytes(1, 1)
    mode = "reduce-overhead" if vae.device.type == "cuda" else "default"
    for half in halves:
        _compile_half(half, torch.compile(half.forward, mode=mode, backend=backend))
    vae.compiled_by = backend


def _compile_half(half: Any, compiled: Callable[..., Tensor]) -> None:
    plain = half.forward
    sizes: set[tuple[int, ...]] = set()

    def forward(hidden: Tensor, **options: Any) -> Tensor:
        if _is_differentiated(hidden):
            result: Tensor = plain(hidden, **options)
            return result
        with warnings.catch_warnings():
            # diffusers asks for torch's version through a cache, whose answer never changes.
            warnings.filterwarnings("ignore", message="(?s)Dynamo detected a call to .*lru_cache")
            # Float32 is meant to be exact where it was chosen.
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            whole = _fill_up(hidden)
            # Code for any number or size of pictures is slower, and a second one seldom asked for.
            sizes.add(tuple(whole.shape[1:]))
            torch._dynamo.mark_static(whole, None if len(sizes) <= _SIZES else 0)
            # A CUDA graph writes all its results to the same place.
            return compiled(whole, **options)[: len(hidden)].clone()

    half.forward = forward


def _fill_up(batch: Tensor) -> Tensor:
    """Return a batch with zeros behind it, of 1, 2, 3, 4, 6, 8, 12, 16, 24 … in all.

    Every number of pictures is compiled anew, which takes longer than some pictures more.
    """
    count = len(batch)
    step = 1 << max(count.bit_length() - 2, 0)
    missing = -count % step
    if not missing:
        return batch
    return torch.nn.functional.pad(batch, (0, 0) * (batch.ndim - 1) + (0, missing))


def _is_differentiated(hidden: Tensor) -> bool:
    backward = torch.is_grad_enabled() and hidden.requires_grad
    return backward or forward_ad.unpack_dual(hidden).tangent is not None  # type: ignore[no-untyped-call]


def _require_compiler() -> None:
    """Raise now what torch would say after half a minute, at length."""
    # What torch itself looks for: it takes no other than this one.
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = os.environ.get("CXX", usual)
    header = Path(sysconfig.get_path("include"), "Python.h")
    for found, what in ((shutil.which(compiler), compiler or "CXX"), (header.is_file(), header)):
        if not found:
            raise MissingExtraError(
                f"no {what}",
                "a C++ compiler and Python's headers, with which torch compiles the model",
                "install g++ and python3-dev or set CXX, or leave --compile out",
            )
