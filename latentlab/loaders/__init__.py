"""The only room that knows diffusers and the hub: foreign conventions end here.

:func:`latentlab.load_vae` turns a name, a hub repository, a folder or a file into a
:class:`LatentVAE`; :func:`latentlab.wrap_vae` does the same for two functions of your own. A
family is a class in a file of this room, with ``@FAMILIES.register("ClassName")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentlab.loaders.registered import FAMILIES as FAMILIES
from latentlab.registry import lazy_names

if TYPE_CHECKING:
    from latentlab.loaders.base import LatentVAE as LatentVAE
    from latentlab.loaders.callables import wrap_vae as wrap_vae
    from latentlab.loaders.load import load_vae as load_vae

__getattr__, __dir__ = lazy_names(
    __name__, {"LatentVAE": "base", "load_vae": "load", "wrap_vae": "callables"}
)
