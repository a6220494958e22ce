"""The files of a comparison: tables, figures, and what continues an interrupted one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from latentlab.machine.files import write_bytes
from latentlab.machine.parsing import WRONG_FACTS, parse_json
from latentlab.measures import MEASURES
from latentlab.measures.base import Columns, PerImage, Value
from latentlab.measures.comparison import Comparison
from latentlab.measures.protocols import Protocol
from latentlab.measures.running import Measured
from latentlab.measures.tables import comma_separated, latex, markdown
from latentlab.results.arrays import write_result
from latentlab.results.folders import Saved, write_json
from latentlab.results.measures import write_per_image


def save_comparison_of_models(
    found: Comparison,
    folder: Path,
    *,
    files: Sequence[Path],
    run: Mapping[str, Any],
    per_image: str = ".csv",
) -> Saved:
    """Write the tables, ``comparison.json``, the values of each image and ``run.json``.

    Parameters
    ----------
    found : Comparison
    folder : created where missing
    files : figures, already written
    run : for ``run.json``
    per_image : ``".csv"`` or ``".parquet"``
    """
    facts = found.facts()
    written = [
        *files,
        write_bytes(folder / "comparison.md", markdown(facts).encode()),
        write_bytes(folder / "comparison.tex", latex(facts).encode()),
        write_bytes(folder / "comparison.csv", comma_separated(facts).encode()),
        write_per_image(named_after(found), folder, per_image),
    ]
    return write_result(folder, "comparison", files=written, arrays={}, facts=facts, run=run)


def named_after(found: Comparison) -> list[Measured]:
    """Return what was measured, under the names that the comparison gives the models."""
    pairs = zip(found.models, found.measured, strict=True)
    return [replace(one, model=name) for name, one in pairs]


# What was measured of one model, to continue an interrupted comparison


def keep_measured(found: Measured, path: Path, asked: Mapping[str, Any]) -> None:
    """Write what was measured of one model, with what was asked."""
    owner = {name: one.name for name, one in found.measures.items()}
    write_json(
        path,
        {
            "asked": asked,
            "measured": {**found.facts(), "paths": list(found.paths)},
            "owners": owner,
            "columns": {name: _listed(one.rows) for name, one in found.columns.items()},
        },
    )


def recall_measured(path: Path, asked: Mapping[str, Any], protocol: Protocol) -> Measured | None:
    """Return what was measured of one model earlier; None if anything else was asked."""
    with suppress(OSError, *WRONG_FACTS):
        kept = parse_json(path.read_text(encoding="utf-8"))
        if kept["asked"] == json.loads(json.dumps(asked)):
            return _recalled(kept, protocol)
    return None


def _recalled(kept: Mapping[str, Any], protocol: Protocol) -> Measured:
    facts, owners = kept["measured"], kept["owners"]
    measures = {name: MEASURES.make(owner).bound(protocol) for name, owner in owners.items()}
    columns = {}
    for name, rows in kept["columns"].items():
        measure = measures[name]
        assert isinstance(measure, PerImage)
        columns[name] = Columns(np.array(rows, np.float64), measure, name)
    return Measured(
        model=facts["model"],
        protocol=protocol,
        paths=tuple(facts["paths"]),
        values={name: _value(one) for name, one in facts["metrics"].items()},
        columns=columns,
        curves=facts["curves"],
        measures=measures,
        skipped_images=facts["skipped"]["images"],
        skipped_metrics=facts["skipped"]["metrics"],
    )


def _value(facts: Mapping[str, Any]) -> Value:
    number = facts["value"]
    return Value(**{**facts, "value": float("nan") if number is None else number})


def _listed(rows: Any) -> list[list[Any]]:
    """Return rows for JSON; the names of what is not finite survive."""
    return [[float(x) if np.isfinite(x) else repr(float(x)) for x in row] for row in rows]
