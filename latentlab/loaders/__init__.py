"""The only room that knows diffusers and the hub: foreign conventions end here.

:func:`load_vae` turns a name, a hub repository, a folder or a file into a :class:`LatentVAE`;
:func:`wrap_vae` does the same for two functions of your own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE
    from latentlab.loaders.callables import wrap_vae
    from latentlab.loaders.compilation import compile_vae
    from latentlab.loaders.families import register_family
    from latentlab.loaders.load import load_vae

__all__ = ["LatentVAE", "compile_vae", "load_vae", "register_family", "wrap_vae"]

_HOMES = {
    "LatentVAE": "base",
    "compile_vae": "compilation",
    "load_vae": "load",
    "register_family": "families",
    "wrap_vae": "callables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
