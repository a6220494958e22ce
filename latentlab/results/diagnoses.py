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


def rows_of_findings(facts: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return name, value, threshold, and what it is and what to do, of each finding that counts."""
    return [
        (one["name"], _value(one), _threshold(one), _sentences(one))
        for one in facts["findings"]
        if one["found"]
    ]


def sentences_on_the_rest(facts: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return a sentence on what is healthy, and one on each examination that was not possible."""
    healthy = [one["name"] for one in facts["findings"] if one["found"] is False]
    rest = [one for one in facts["findings"] if one["found"] is None]
    unknown = [f"Not examined: {one['name']} ({one['problem']})." for one in rest]
    return f"Healthy: {', '.join(healthy) or 'nothing'}.", unknown


def _value(one: Mapping[str, Any]) -> str:
    return "–" if one["value"] is None else f"{one['value']:.3g} {one['unit']}"


def _threshold(one: Mapping[str, Any]) -> str:
    return "–" if one["threshold"] is None else f"{one['threshold']:.3g}"


def _sentences(one: Mapping[str, Any]) -> str:
    parts = (part for part in (one["says"], one["advice"]) if part)
    return ". ".join(part[:1].upper() + part[1:] for part in parts) + "."
