"""Where a result came from: what ``run.json`` says."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.errors import FileError
from latentlab.results.folders import read_json, write_json

if TYPE_CHECKING:
    from latentlab.latents import Latent
    from latentlab.loaders.base import LatentVAE

_LIBRARIES = ("torch", "diffusers", "numpy", "pillow", "scikit-learn", "matplotlib", "safetensors")


def record(folder: Path, command: str, facts: Mapping[str, Any]) -> Path:
    """Write under the command's name into ``run.json``; return its path.

    What other commands wrote is kept, unless this is a new ``pca``, with which a run begins.
    """
    path = folder / "run.json"
    starts_anew = command == "pca" or not path.exists()
    earlier = {} if starts_anew else read_json(path)
    return write_json(path, {**earlier, command: facts})


def recorded_model(folder: Path, command: str = "pca") -> dict[str, Any]:
    """Return source, revision, sha256, dtype and tile of the model that made the run in a folder.

    The tile is its side in pixels, None where there was none.

    Raises
    ------
    FileError : ``run.json`` is missing or says nothing of it.
    """
    facts = read_json(folder / "run.json")
    try:
        model, tiles = facts[command]["model"], facts[command].get("tiles")
        tile = int(tiles["tile"]) if tiles else None
        names = ("source", "revision", "sha256", "dtype")
        return {**{name: model[name] for name in names}, "tile": tile}
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{folder / 'run.json'} without a model",
            f"the record of a `latentlab {command}` run",
            f"run `latentlab {command}` again",
        ) from error


def recorded_input(folder: Path, command: str = "pca") -> dict[str, Any] | None:
    """Return name, sha256 and preprocessing of a run's picture; None where that is not recorded."""
    found = read_json(folder / "run.json").get(command, {}).get("input")
    return found if isinstance(found, dict) else None


def asked_dtype(folder: Path) -> str:
    """Return the ``--dtype`` that the pca run in a folder was made with."""
    precision = read_json(folder / "run.json").get("pca", {}).get("precision", {})
    return str(precision.get("asked", "auto"))


def provenance(
    vae: LatentVAE, latent: Latent, command_line: list[str], **settings: Any
) -> dict[str, Any]:
    """Return what it takes to repeat a run: versions, command, model, input and settings."""
    from latentlab.encoding.tiles import describe_tiles

    return {
        "command_line": command_line,
        "model": {
            "name": vae.spec.name,
            "source": vae.origin.source,
            "family": vae.origin.family,
            "revision": vae.origin.revision,
            "sha256": dict(vae.origin.sha256),
            "normalization": vae.origin.normalization,
            "dtype": str(vae.dtype).removeprefix("torch."),
            "device": str(vae.device),
            "compiled": vae.is_compiled,
        },
        **describe_tiles(vae),
        "input": {
            "name": latent.name,
            "sha256": latent.picture.sha256 if latent.picture else None,
            "preprocessing": latent.picture.preprocessing if latent.picture else None,
        },
        **settings,
        "versions": library_versions(),
        "platform": platform.platform(),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of latentlab, Python and the libraries that results depend on."""
    return {
        "latentlab": metadata.version("latentlab"),
        "python": platform.python_version(),
        **{library: metadata.version(library) for library in _LIBRARIES},
    }
