"""The files of a comparison: tables, figures, and what continues an interrupted one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from latentlab.machine.files import write_bytes
from latentlab.measures import MEASURES
from latentlab.measures.base import Columns, PerImage, Value
from latentlab.measures.comparison import Comparison
from latentlab.measures.protocols import Protocol
from latentlab.measures.running import Measured
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


def cell_of(row: Mapping[str, Any], model: str) -> str:
    """Return the text of a model's value with its interval; a dash where it has none."""
    value = row["values"].get(model)
    if value is None or value["value"] is None:
        return "–"
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.4g}"
    return f"{value['value']:.4g} ({value['low']:.4g} to {value['high']:.4g})"


def markdown(facts: Mapping[str, Any]) -> str:
    """Return the table in Markdown, with the protocol below it."""
    models = facts["models"]
    lines = [
        f"| metric | {' | '.join(models)} | better |",
        f"|---|{'---:|' * len(models)}---|",
    ]
    for row in facts["table"]:
        cells = [cell_of(row, model) for model in models]
        unit = f" ({row['unit']})" if row["unit"] else ""
        lines.append(f"| {row['metric']}{unit} | {' | '.join(cells)} | {row['best'] or ''} |")
    return "\n".join([*lines, "", *footnotes(facts), ""])


def footnotes(facts: Mapping[str, Any]) -> list[str]:
    """Return what has to stand below every table: protocol, images, and how differences count."""
    return [
        f"{facts['n_images']:,} images, protocol {Protocol(**facts['protocol']).describe()}.",
        f"Intervals: 95 % over images. Better: in a paired difference over the same images whose "
        f"interval excludes 0, jointly for all {facts['comparisons']:,} comparisons.",
    ]


def latex(facts: Mapping[str, Any]) -> str:
    """Return the table for LaTeX with booktabs; intervals become ± half their width."""
    models = facts["models"]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(models)}}}",
        r"\toprule",
        " & ".join(["metric", *map(_escaped, models)]) + r" \\",
        r"\midrule",
    ]
    for row in facts["table"]:
        unit = f" ({row['unit']})" if row["unit"] else ""
        cells = [_latex_cell(row, model) for model in models]
        lines.append(" & ".join([_escaped(f"{row['metric']}{unit}"), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {line}" for line in footnotes(facts)), ""])


def _latex_cell(row: Mapping[str, Any], model: str) -> str:
    value = row["values"].get(model)
    if value is None or value["value"] is None:
        return "--"
    text = f"{value['value']:.4g}"
    if value["low"] is not None and value["high"] is not None:
        text += rf" \pm {(value['high'] - value['low']) / 2:.2g}"
    return rf"$\mathbf{{{text}}}$" if row["best"] == model else f"${text}$"


def _escaped(text: str) -> str:
    for plain in "&%$#_{}":
        text = text.replace(plain, f"\\{plain}")
    return text.replace("σ", r"$\sigma$").replace("Δ", r"$\Delta$").replace("²", "$^2$")


def comma_separated(facts: Mapping[str, Any]) -> str:
    """Return a row for each metric and model."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "unit", "model", "value", "low", "high", "n", "note"])
    for row in facts["table"]:
        for model, value in row["values"].items():
            parts = (value[key] for key in ("value", "low", "high", "n", "note"))
            writer.writerow([row["metric"], row["unit"], model, *parts])
    return text.getvalue()


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
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
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
