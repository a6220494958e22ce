"""Where a result came from: the contents of ``run.json``."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.encoding.encoder import describe_latent, describe_model
from latentlab.errors import FileError
from latentlab.loaders.tiles import describe_tiles
from latentlab.machine.cores import describe_threads
from latentlab.machine.parsing import WRONG_FACTS
from latentlab.machine.versions import library_versions
from latentlab.plugins import used_plugins
from latentlab.results.folders import read_json, write_json

if TYPE_CHECKING:
    from latentlab.latents import Latent
    from latentlab.loaders.base import LatentVAE


def write_record(folder: Path, command: str, facts: Mapping[str, Any]) -> Path:
    """Write facts, versions, platform and threads under the command's name into ``run.json``.

    So are the plug-ins of other packages that this process has asked for, if there are any.
    Records of other commands are kept, but a new ``pca`` starts the file anew. Return the path.
    """
    path = folder / "run.json"
    starts_anew = command == "pca" or not path.exists()
    earlier = {} if starts_anew else read_json(path)
    machine: dict[str, Any] = {
        "versions": library_versions(),
        "platform": platform.platform(),
        "threads": describe_threads(),
    }
    plugins = used_plugins()
    machine |= {"plugins": plugins} if plugins else {}
    return write_json(path, {**earlier, command: {"command_line": None, **facts, **machine}})


def provenance(
    vae: LatentVAE, latent: Latent, command_line: list[str] | None, **settings: Any
) -> dict[str, Any]:
    """Return what it takes to repeat a run: command, model, input and settings.

    Parameters
    ----------
    vae : LatentVAE
    latent : Latent
    command_line : arguments of the command; None from Python
    **settings : JSON-ready
    """
    return {
        "command_line": command_line,
        "model": describe_model(vae),
        **describe_tiles(vae),
        "input": describe_latent(latent),
        **settings,
    }


def record_of_folder(folder: Path, command: str) -> dict[str, Any]:
    """Return what ``run.json`` records about a command's model and input; empty without it."""
    if not (folder / "run.json").is_file():
        return {}
    found = read_json(folder / "run.json").get(command)
    keys = ("model", "tiles", "input")
    return {key: found[key] for key in keys if key in found} if isinstance(found, dict) else {}


def recorded_model(folder: Path, command: str = "pca") -> dict[str, Any]:
    """Return source, revision, sha256, dtype and tile of the model that made the run in a folder.

    The tile is its side in pixels, or None.

    Raises
    ------
    FileError : ``run.json`` is missing or does not name a model.
    """
    facts = read_json(folder / "run.json")
    try:
        model, tiles = facts[command]["model"], facts[command].get("tiles")
        tile = int(tiles["tile"]) if tiles else None
        names = ("source", "revision", "sha256", "dtype")
        return {**{name: model[name] for name in names}, "tile": tile}
    except WRONG_FACTS as error:
        raise FileError(
            f"{folder / 'run.json'} without a model",
            f"the record of a `latentlab {command}` run",
            f"run `latentlab {command}` again or choose the model with --model",
        ) from error


def asked_dtype(folder: Path) -> str:
    """Return the ``--dtype`` of the pca run in a folder."""
    try:
        return str(read_json(folder / "run.json")["pca"]["precision"]["asked"])
    except WRONG_FACTS:
        return "auto"
