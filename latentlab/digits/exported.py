"""Folders with an exported model, as a page needs them; opens without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentlab.errors import FileError
from latentlab.machine.files import sha256_of_file
from latentlab.results.folders import read_json

SHIPPED = "digits"
"""Name of the model that comes with latentlab."""

DECODER = "decoder.onnx"
ENCODER = "encoder.onnx"
DESCRIPTION = "onnx.json"
FORMAT = "latentlab digits onnx 1"


def is_exported(folder: Path) -> bool:
    """Return whether a folder holds what ``latentlab digits export`` writes."""
    return (folder / DESCRIPTION).is_file()


def read_exported(folder: Path) -> dict[str, Any]:
    """Return the description of an exported model, after checking that its decoder belongs to it.

    Raises
    ------
    FileError : a file is missing, damaged or of another export.
    """
    facts = read_json(folder / DESCRIPTION)
    try:
        expected = facts["files"][DECODER]["sha256"]
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']!r}")
        if sha256_of_file(folder / DECODER) != expected:
            raise ValueError(f"{DECODER} of another export")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"{folder}, which cannot be used ({error})",
            "the files of one `latentlab digits export`",
            "export again",
        ) from error
    return facts
