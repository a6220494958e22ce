"""Encoder and decoder compiled by torch, for runs long enough to pay for the compilation."""

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
"""Number of image sizes that are compiled separately; later ones share code for any size."""
_VERSIONS = 64
"""How many compiled versions torch may keep; the default is 8 for all models of a process."""


def compile_vae(vae: LatentVAE, *, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile encoder and decoder of a VAE in place; the first image of each size is slow.

    On CUDA they are recorded as CUDA graphs, which are replayed without the host. Derivatives use
    the original layers, because compiled code can be differentiated only once. Results differ from
    uncompiled ones by rounding.

    Parameters
    ----------
    vae : LatentVAE with a torch module for each half, as in all families but ``linear``
    backend : backend of ``torch.compile``

    Raises
    ------
    UsageError : a VAE without such modules.
    MissingExtraError : torch needs a C++ compiler and Python's headers, and one is missing.

    Examples
    --------
    >>> import latentlab
    >>> vae = latentlab.load_vae("mini")
    >>> compile_vae(vae, backend="eager")  # only traced, which needs no compiler
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
    # Also called recompile_limit; torch 2.6 knows only this name.
    config.cache_size_limit = max(config.cache_size_limit, _VERSIONS)
    # Measured now and cached, because compiled code does not call the hooks that measure it.
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
            # diffusers looks up torch's version through a cache, and the version never changes.
            warnings.filterwarnings("ignore", message="(?s)Dynamo detected a call to .*lru_cache")
            # Where float32 is chosen, it is meant to be exact.
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            whole = _fill_up(hidden)
            # Code for any number or size of images is slower, and rarely needed.
            sizes.add(tuple(whole.shape[1:]))
            torch._dynamo.mark_static(whole, None if len(sizes) <= _SIZES else 0)
            # A CUDA graph writes all its results to the same memory.
            return compiled(whole, **options)[: len(hidden)].clone()

    half.forward = forward


def _fill_up(batch: Tensor) -> Tensor:
    """Return a batch padded with zeros to 1, 2, 3, 4, 6, 8, 12, 16, 24 … images.

    Every number of images is compiled anew, which takes longer than a few more images.
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
    """Check now what torch would report only after half a minute and at length."""
    # torch itself looks for this compiler only.
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = os.environ.get("CXX", usual)
    header = Path(sysconfig.get_path("include"), "Python.h")
    for found, what in ((shutil.which(compiler), compiler or "CXX"), (header.is_file(), header)):
        if not found:
            raise MissingExtraError(
                f"no {what}",
                "a C++ compiler and Python's headers, which torch needs to compile a model",
                "install g++ and python3-dev or set CXX, or leave --compile out",
            )
