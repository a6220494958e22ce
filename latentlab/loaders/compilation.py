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
from torch.utils._pytree import tree_map_only

from latentlab.errors import MissingExtraError, UsageError
from latentlab.loaders.base import LatentVAE

HALVES = (("encoder",), ("decoder", "decoder_unet"))
"""Names that families give to each half."""
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
    halves = [_find_half(module, names) for names in HALVES]
    if not all(halves):
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
    # Seeded noise inside a decoder stays the same noise as without compilation.
    torch._inductor.config.fallback_random = True
    # Measured now and cached, because compiled code does not call the hooks that measure it.
    vae.activation_bytes(1, 1)
    mode = "reduce-overhead" if vae.device.type == "cuda" else "default"
    for half in halves:
        _compile_half(half, torch.compile(half.forward, mode=mode, backend=backend))
    vae.compiled_by = backend


def _find_half(module: Any, names: tuple[str, ...]) -> Any:
    """Return the layers with the first of these names; None if the module has none."""
    parts = [getattr(module, name, None) for name in names]
    return next((part for part in parts if isinstance(part, torch.nn.Module)), None)


def _compile_half(half: Any, compiled: Callable[..., Any]) -> None:
    plain = half.forward
    sizes: set[tuple[int, ...]] = set()

    def forward(hidden: Tensor, *others: Any, **options: Any) -> Any:
        if any(_is_differentiated(given) for given in (hidden, *others, *options.values())):
            return plain(hidden, *others, **options)
        count = len(hidden)

        def fill(given: Any) -> Any:
            # Some decoders take a second batch, such as timesteps or latents before the codebook.
            if not (isinstance(given, Tensor) and given.ndim and len(given) == count):
                return given
            filled = _fill_up(given)
            # Code for any number or size of images is slower, and rarely needed.
            torch._dynamo.mark_static(filled, None if len(sizes) <= _SIZES else 0)
            return filled

        def take(result: Tensor) -> Tensor:
            # A CUDA graph writes all its results to the same memory.
            return (result[:count] if result.ndim and len(result) == length else result).clone()

        with warnings.catch_warnings():
            # diffusers looks up torch's version through a cache, and the version never changes.
            warnings.filterwarnings("ignore", message="(?s)Dynamo detected a call to .*lru_cache")
            # Where float32 is chosen, it is meant to be exact.
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            sizes.add(tuple(hidden.shape[1:]))
            whole = fill(hidden)
            length = len(whole)
            options = {name: fill(given) for name, given in options.items()}
            results = compiled(whole, *map(fill, others), **options)
            # Also of tuples and classes, whose caches of frames have as many images.
            return tree_map_only(Tensor, take, results)

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


def _is_differentiated(hidden: Any) -> bool:
    if not isinstance(hidden, Tensor):
        return False
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
