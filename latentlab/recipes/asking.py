"""Everything that the numbers of a model depend on, so that known ones are not measured again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from latentlab.encoding.encoder import describe_model
from latentlab.errors import LatentlabError
from latentlab.loaders import FAMILIES
from latentlab.loaders.base import LatentVAE
from latentlab.loaders.in_memory import hash_tensors
from latentlab.machine.files import sha256_of_file
from latentlab.machine.versions import library_versions
from latentlab.measures import MEASURES
from latentlab.store.opening import open_source


def describe_asked(
    vae: LatentVAE, question: Mapping[str, Any], *, multiple: int, images: str
) -> dict[str, Any]:
    """Return everything that the numbers of one model depend on, JSON-ready.

    Parameters
    ----------
    vae : LatentVAE
    question : ``protocol``, ``only`` and ``options`` of what is measured
    multiple : int, sides of images are multiples of this
    images : str, of :func:`hash_of_images`
    """
    return {
        "latentlab": library_versions()["latentlab"],
        "plugins": [FAMILIES.source_of(vae.origin.family), *map(MEASURES.source_of, MEASURES)],
        "model": describe_model(vae),
        "weights": _checksum(vae),
        "tiles": [vae.tiling["tile"], vae.tiling["overlap"]] if vae.tiling else None,
        "protocol": question["protocol"],
        "only": question["only"],
        "options": {
            name: {key: _with_content(value) for key, value in given.items()}
            for name, given in question["options"].items()
        },
        "multiple": multiple,
        "images": images,
    }


def why_unknown(vae: LatentVAE, question: Mapping[str, Any]) -> str:
    """Return why no other run can tell whether it asks the same; "" if it can.

    Parameters
    ----------
    vae : LatentVAE
    question : as for :func:`describe_asked`
    """
    if not vae.origin.sha256:
        return "has no checksum of its weights"
    try:
        json.dumps([[*map(_with_content, one.values())] for one in question["options"].values()])
    except TypeError:
        return "has options that are objects of Python"
    return ""


def _checksum(vae: LatentVAE) -> str:
    """Return the checksum of a model's weights as they are now; empty for one without layers."""
    module = getattr(vae, "module", None)
    return hash_tensors(module.state_dict()) if isinstance(module, torch.nn.Module) else ""


def _with_content(option: Any) -> Any:
    """Return an option; with the SHA-256 of the file if it names one."""
    if isinstance(option, str | Path) and Path(option).is_file():
        return {"file": str(option), "sha256": sha256_of_file(option)}
    return str(option) if isinstance(option, Path) else option


def hash_of_images(images: Path, limit: int = 0) -> str:
    """Return the SHA-256 of the names and the contents of the images."""
    digest = hashlib.sha256()
    source = open_source(images)
    for entry in islice(source.entries(), limit or None):
        try:
            content = hashlib.sha256(source.read(entry.path)).hexdigest()
        except (OSError, LatentlabError) as error:
            # It is skipped with this reason where it is measured.
            content = str(error)
        digest.update(f"{entry.path}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
