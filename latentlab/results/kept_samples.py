"""Neighborhoods kept on disk under a hash of their inputs, so that nothing is encoded twice.

They are kept in the hidden folder ``.samples`` of the runs folder, which may be deleted any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError, ShapeError
from latentlab.latents import Latent, Neighborhood
from latentlab.loaders import FAMILIES
from latentlab.machine.files import replace_when_done
from latentlab.machine.parsing import WRONG_FACTS, parse_json
from latentlab.machine.versions import library_versions
from latentlab.neighborhoods import SAMPLERS
from latentlab.results.arrays import (
    check_shapes,
    contiguous,
    load_sampling,
    sampling_arrays,
    sampling_facts,
)

if TYPE_CHECKING:
    from torch import Tensor

    from latentlab.loaders.base import LatentVAE

FOLDER = ".samples"
LARGEST = 2**30
"""Limit in bytes for all kept neighborhoods; the least recently used are deleted first."""

_DESCRIPTION = "neighborhood"


def samples_key(
    vae: LatentVAE,
    latent: Latent,
    name: str,
    n_samples: int | None,
    dtype: str,
    settings: Mapping[str, Any],
) -> str | None:
    """Return the SHA-256 of everything that determines the samples.

    None if that is unknown or the samples cost nothing: the VAE has no weights file, or the
    neighborhood reads other files or encodes nothing.

    Parameters
    ----------
    dtype : str, as asked for, such as ``"auto"``
    settings : JSON-ready; region, seed and the sampler's options
    """
    sampler = SAMPLERS[name]
    if not vae.origin.sha256 or sampler.reads_files or not sampler.encodes:
        return None
    content = {
        "weights": dict(vae.origin.sha256),
        "normalization": vae.origin.normalization,
        "device": str(vae.device),
        "compiled": vae.is_compiled,
        "tiles": vae.tiling and (vae.tiling["tile"], vae.tiling["overlap"]),
        "latent": _sha256(latent.values),
        "picture": _sha256(latent.image.pixels) if latent.image else None,
        "neighborhood": name,
        "samples": n_samples,
        "dtype": dtype,
        **settings,
        "versions": library_versions(),
        "plugins": [SAMPLERS.source_of(name), FAMILIES.source_of(vae.origin.family)],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def keep(root: Path, key: str | None, hood: Neighborhood, precision: Mapping[str, Any]) -> None:
    """Keep a neighborhood under its key below ``root``, unless it alone exceeds the limit.

    A failed write is no error: the samples are drawn again next time.
    """
    from safetensors.torch import save_file

    if key is None or hood.samples.numel() * 4 > LARGEST:
        return
    described = {
        "name": hood.name,
        **sampling_facts(hood.sampling),
        "precision": dict(precision),
    }
    arrays = contiguous({"samples": hood.samples, **sampling_arrays(hood.sampling)})
    with suppress(OSError, FileError), replace_when_done(_path(root, key)) as unfinished:
        save_file(arrays, unfinished, metadata={_DESCRIPTION: json.dumps(described)})
    _forget_oldest(root / FOLDER)


def find_kept(
    root: Path, key: str | None, latent: Latent
) -> tuple[Neighborhood, dict[str, Any]] | None:
    """Return the neighborhood of a latent kept under a key, and its precision; None without one.

    Damaged files count as missing.
    """
    from safetensors import SafetensorError, safe_open

    if key is None or not _path(root, key).is_file():
        return None
    path = _path(root, key)
    try:
        with safe_open(path, "pt") as file:
            described = parse_json(file.metadata()[_DESCRIPTION])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sampling = load_sampling(described, arrays, described["name"], latent.record)
        hood = Neighborhood(arrays["samples"], replace(sampling, origin=latent))
        if hood.layout.shape != tuple(latent.values.shape):
            raise ValueError("samples of another latent")
        check_shapes(arrays, {"samples": (len(hood.samples), hood.layout.n_features)})
        precision = dict(described["precision"])
    except (OSError, SafetensorError, FileError, ShapeError, *WRONG_FACTS):
        return None
    with suppress(OSError):
        path.touch()
    return hood, precision


def _path(root: Path, key: str) -> Path:
    return root / FOLDER / f"{key}.safetensors"


def _sha256(values: Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        if total <= LARGEST:
            break
        total -= path.stat().st_size
        with suppress(OSError):
            path.unlink()
