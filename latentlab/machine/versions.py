"""The versions of everything that results depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata

_LIBRARIES = ("torch", "diffusers", "numpy", "pillow", "scikit-learn", "matplotlib", "safetensors")


def library_versions() -> dict[str, str]:
    """Return the versions of latentlab, Python and the libraries that results depend on."""
    return dict(_read_versions())


# Reading what is installed takes milliseconds, and it stays as long as the process.
@cache
def _read_versions() -> Mapping[str, str]:
    return {
        "latentlab": metadata.version("latentlab"),
        "python": platform.python_version(),
        **{library: metadata.version(library) for library in _LIBRARIES},
    }
