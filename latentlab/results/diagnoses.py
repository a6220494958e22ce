"""The files of a diagnosis in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved

if TYPE_CHECKING:
    from latentlab.examinations.diagnosis import Diagnosis


def save_diagnosis(
    found: Diagnosis, folder: Path, *, run: Mapping[str, Any], figure_format: str = "png"
) -> Saved:
    """Write ``doctor.json``, ``run.json`` and, if a finding has a place, a figure of it.

    Parameters
    ----------
    found : Diagnosis
    folder : created where missing; files of the same name are replaced
    run : for ``run.json``; names and hashes of the images are added
    figure_format : ``"png"``, ``"pdf"`` or ``"svg"``
    """
    from latentlab.figures.canvas import write_figure

    figure = found.plot()
    folder.mkdir(parents=True, exist_ok=True)
    files = [] if figure is None else [write_figure(folder, "doctor", figure, figure_format)]
    seen = found.evidence
    inputs = [
        {"name": name, "sha256_of_pixels": digest}
        for name, digest in zip(seen.names, seen.hashes, strict=True)
    ]
    facts, record = found.facts(), {**run, "inputs": inputs}
    return write_result(folder, "doctor", files=files, arrays={}, facts=facts, run=record)
