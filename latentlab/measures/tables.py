"""The table of a comparison as text: Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

from latentlab.errors import counted
from latentlab.figures.tables import Strong, html_table
from latentlab.measures.protocols import Protocol


def cell_of(row: Mapping[str, Any], model: str) -> str:
    """Return the text of a model's value with its interval; a dash where it has none."""
    value = row["values"].get(model)
    if _is_unknown(value):
        return "–"
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.4g}"
    return f"{value['value']:.4g} ({value['low']:.4g} to {value['high']:.4g})"


def markdown(facts: Mapping[str, Any]) -> str:
    """Return the table in Markdown, with the protocol below it."""
    models = facts["models"]
    lines = [
        f"| metric | {' | '.join(map(_in_cell, models))} | better |",
        f"|---|{'---:|' * len(models)}---|",
    ]
    for row in facts["table"]:
        cells = [cell_of(row, model) for model in models]
        unit = f" ({row['unit']})" if row["unit"] else ""
        best = _in_cell(row["best"] or "")
        lines.append(f"| {row['metric']}{unit} | {' | '.join(cells)} | {best} |")
    return "\n".join([*lines, "", *footnotes(facts), ""])


def _in_cell(text: str) -> str:
    """Return text for a cell of Markdown, which a bar would end."""
    return text.replace("|", r"\|")


def footnotes(facts: Mapping[str, Any]) -> list[str]:
    """Return what has to stand below every table: protocol, images, and how differences count."""
    count = facts["comparisons"]
    jointly = f", jointly for all {count:,} comparisons" if count > 1 else ""
    return [
        f"{counted(facts['n_images'])}, protocol {Protocol(**facts['protocol']).describe()}.",
        f"Intervals: 95 % over images. Better: in a paired difference over the same images whose "
        f"interval excludes 0{jointly}.",
    ]


def latex(facts: Mapping[str, Any]) -> str:
    """Return the table for LaTeX with booktabs; intervals stand in brackets.

    Many are logarithmic or end at a bound, so that no ± describes them.
    """
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
    if _is_unknown(value):
        return "--"
    text = f"{value['value']:.4g}"
    if value["low"] is not None and value["high"] is not None:
        text += rf"\ [{value['low']:.4g}, {value['high']:.4g}]"
    return rf"$\mathbf{{{text}}}$" if row["best"] == model else f"${text}$"


def _is_unknown(value: Any) -> bool:
    return value is None or value["value"] is None or math.isnan(value["value"])


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "σ": r"$\sigma$",
    "Δ": r"$\Delta$",
    "²": "$^2$",
}
"""Sign → what LaTeX prints as it."""


def rows_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each metric and model that has it."""
    return [
        {
            "metric": row["metric"],
            "unit": row["unit"],
            "model": model,
            **{key: value[key] for key in ("value", "low", "high", "n", "note")},
        }
        for row in facts["table"]
        for model, value in row["values"].items()
    ]


def comma_separated(facts: Mapping[str, Any]) -> str:
    """Return a row for each metric and model."""
    text = io.StringIO()
    names = ("metric", "unit", "model", "value", "low", "high", "n", "note")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows_of(facts))
    return text.getvalue()


def html(facts: Mapping[str, Any]) -> str:
    """Return the table for a notebook, with the best in bold and the protocol below."""
    models = facts["models"]
    rows = []
    for row in facts["table"]:
        unit = f" ({row['unit']})" if row["unit"] else ""
        cells = {model: cell_of(row, model) for model in models}
        if row["best"] is not None:
            cells[row["best"]] = Strong(cells[row["best"]])
        rows.append([row["metric"] + unit, *cells.values()])
    return html_table(["metric", *models], rows, notes=footnotes(facts))
