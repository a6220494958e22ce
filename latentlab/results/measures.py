"""The files of measured metrics in a run folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from latentlab.errors import MissingExtraError
from latentlab.machine.files import replace_when_done, write_bytes
from latentlab.measures.running import Measured
from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved

PER_IMAGE = "per_image"


def save_measured(
    found: Measured, folder: Path, *, facts: Mapping[str, Any], run: Mapping[str, Any]
) -> Saved:
    """Write ``metrics.json``, the values of each image and ``run.json``.

    Parameters
    ----------
    found : Measured
    folder : created where missing; files of the same name are replaced
    facts : contents of the JSON file
    run : for ``run.json``
    """
    files = [write_per_image([found], folder)]
    return write_result(folder, "metrics", files=files, arrays={}, facts=facts, run=run)


def write_per_image(several: list[Measured], folder: Path, suffix: str = ".csv") -> Path:
    """Write a row for each image of each model, with all values that an image has; return the path.

    Parameters
    ----------
    several : Measured, one a model
    folder : Path
    suffix : ``".csv"`` or ``".parquet"``

    Raises
    ------
    MissingExtraError : Parquet without pandas and pyarrow.
    """
    names = [*dict.fromkeys(name for found in several for name in found.columns)]
    rows = [row for found in several for row in _rows(found)]
    path = folder / f"{PER_IMAGE}{suffix}"
    if suffix == ".parquet":
        return _write_parquet(path, rows, ["model", "path", *names])
    text = io.StringIO()
    writer = csv.DictWriter(text, ["model", "path", *names], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_bytes(path, text.getvalue().encode("utf-8", errors="backslashreplace"))


def _rows(found: Measured) -> list[dict[str, Any]]:
    """Return a row for each image; values that are not finite are left out."""
    rows: list[dict[str, Any]] = [{"model": found.model, "path": path} for path in found.paths]
    for name, columns in found.columns.items():
        for number, value in enumerate(columns.each()):
            if np.isfinite(value):
                rows[number][name] = float(value)
    return rows


def _write_parquet(path: Path, rows: list[dict[str, Any]], names: list[str]) -> Path:
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise MissingExtraError(
            "Parquet without pandas", "pandas and pyarrow", "run pip install pandas pyarrow"
        ) from error
    with replace_when_done(path) as unfinished:
        pandas.DataFrame(rows, columns=names).to_parquet(unfinished, index=False)
    return path
