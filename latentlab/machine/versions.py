"""The versions of everything that results depend on."""

from __future__ import annotations

import platform
from importlib import metadata

_LIBRARIES = ("torch", "diffusers", "numpy", "pillow", "scikit-learn", "matplotlib", "safetensors")


def library_versions() -> dict[str, str]:
    """Return the versions of latentlab, Python and the libraries that results depend on."""
    return {
        "latentlab": metadata.version("latentlab"),
        "python": platform.python_version(),
        **{library: metadata.version(library) for library in _LIBRARIES},
    }
