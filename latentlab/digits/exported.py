"""Folders with an exported model, as the browser page needs them; without PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from latentlab.errors import FileError
from latentlab.machine.files import sha256_of_file
from latentlab.machine.parsing import WRONG_FACTS
from latentlab.models.shipped import shipped_folder
from latentlab.results.folders import read_json

SHIPPED = "digits"
"""Name of the model that comes with latentlab."""

DECODER = "decoder.onnx"
ENCODER = "encoder.onnx"
DESCRIPTION = "onnx.json"
FORMAT = "latentlab digits onnx 1"


def locate_model(source: str | os.PathLike[str] | None) -> tuple[Path, bool]:
    """Return the folder of a model, and whether it is the model that comes with latentlab.

    Parameters
    ----------
    source : a folder; None, or ``digits`` if there is no such folder, for the shipped model

    Raises
    ------
    WeightsError : the shipped files have been changed.
    """
    if source is None or (str(source) == SHIPPED and not Path(source).exists()):
        return shipped_folder(SHIPPED), True
    return Path(source), False


def read_exported(folder: Path) -> dict[str, Any]:
    """Return the description of an exported model, after checking that its decoder belongs to it.

    Raises
    ------
    FileError : a file is missing, damaged or from another export.
    """
    facts = read_json(folder / DESCRIPTION)
    try:
        expected = facts["files"][DECODER]["sha256"]
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']!r}")
        if sha256_of_file(folder / DECODER) != expected:
            raise ValueError(f"{DECODER} of another export")
    except (OSError, *WRONG_FACTS) as error:
        raise FileError(
            f"{folder}, which cannot be used ({error})",
            "the files of one `latentlab digits export`",
            "export the model again",
        ) from error
    return facts
