"""Measured sections in one JSON file, and that file as Markdown.

Sections are measured in one go or one after the other, also on different days: each keeps the
date, the load and the rounds that it was measured with, and replaces only its own figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from timing import Target

Say = Callable[[str], None]
Figures = Any
"""What a section measured, ready for JSON; ``{"skipped": reason}`` where it could not."""

_INTRODUCTION = """# Benchmarks

Written by `make bench`, which is `python scripts/bench --markdown docs/benchmarks.md`; one part
again with `--only NAME`. What is compared takes turns in the same process, and figures are medians.
*Naive* is what one would write by hand: plain PyTorch or diffusers in float32, one image at a
time, scikit-learn's PCA, imageio's GIF. The *ceiling* is the rate of square matrix products of the
same dtype, measured between the layers of what is timed (on a GPU beside it), since a machine's
speed may double and halve within seconds. Convolutions can do better than these products, and then
their share is above 100 %. In brackets stand the smallest and largest of the rounds. FLUX.1's
architecture has random weights, on which speed does not depend.
"""
_RUN_ONLY = ("date", "load_average", "rounds", "quick", "seconds")


@dataclass(frozen=True)
class Section:
    """One part of the benchmarks.

    Parameters
    ----------
    name : str, as for ``--only``
    measure : options, say → figures
    tables : figures → tables, for the terminal and for Markdown
    targets : figures → targets
    """

    name: str
    measure: Callable[[Any, Say], Figures]
    tables: Callable[[Figures], Sequence[Table]]
    targets: Callable[[Figures], Sequence[Target]]


def read_report(path: Path | None) -> dict[str, Any]:
    """Return the report of a JSON file, an empty one where there is none."""
    if path is None or not path.exists():
        return {"sections": {}}
    report: dict[str, Any] = json.loads(path.read_text())
    return report if "sections" in report else {"sections": {}}


def write_whole(path: Path, text: str) -> None:
    """Write a file that is complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text)
    unfinished.replace(path)


def write_report(path: Path, report: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Write a report as JSON, with the targets that its figures have to meet."""
    targets = [
        {**asdict(target), "met": target.met}
        for section in sections
        for target in targets_of(section, report)
    ]
    write_whole(path, json.dumps({**report, "targets": targets}, indent=1) + "\n")


def targets_of(section: Section, report: Mapping[str, Any]) -> Sequence[Target]:
    """Return a section's targets; none where it was not measured."""
    figures = _figures_of(section, report)
    return section.targets(figures) if figures else ()


def tables_of(section: Section, report: Mapping[str, Any]) -> Sequence[Table]:
    """Return a section's tables; none where it was not measured."""
    figures = _figures_of(section, report)
    return section.tables(figures) if figures else ()


def to_markdown(
    report: Mapping[str, Any], sections: Sequence[Section], target_table: Callable[..., Table]
) -> str:
    """Return the whole report: bounds first, then machines, then a part for each section."""
    targets = [target for section in sections for target in targets_of(section, report)]
    missed = [target.name for target in targets if not target.met]
    machines = _machines(report)
    parts = [_INTRODUCTION, markdown_table(target_table(targets))]
    parts.append(f"Not kept: {'; '.join(missed)}." if missed else "All bounds are kept.")
    parts += ["## Machine", *(f"- {_describe(machine)}" for machine in machines)]
    for section in sections:
        parts += [f"## {section.name}", _how_measured(section, report, machines)]
        parts += map(markdown_table, tables_of(section, report))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def markdown_table(table: Table) -> str:
    """Return a terminal's table as Markdown, its title above."""
    columns = [[str(column.header), *column.cells] for column in table.columns]
    plain = [[_plain(cell) for cell in column] for column in columns]
    heading, *rows = [f"| {' | '.join(row)} |" for row in zip(*plain, strict=True)]
    sides = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rule = f"| {' | '.join(sides)} |"
    return f"**{table.title}**\n\n" + "\n".join([heading, rule, *rows])


def _plain(cell: Any) -> str:
    return Text.from_markup(str(cell)).plain.replace("|", "\\|")


def _figures_of(section: Section, report: Mapping[str, Any]) -> Figures:
    entry = report["sections"].get(section.name)
    return None if entry is None or "skipped" in entry["figures"] else entry["figures"]


def _machines(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every machine with its versions on which something was measured, each once."""
    found: list[dict[str, Any]] = []
    for entry in report["sections"].values():
        machine = _machine_of(entry)
        if machine not in found:
            found.append(machine)
    return found


def _machine_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry["run"].items() if name not in _RUN_ONLY}


def _describe(machine: Mapping[str, Any]) -> str:
    hardware = machine["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    flags = ", ".join(hardware["flags"]) or "no flags known"
    return (
        f"{hardware['cpu']} ({flags}), {hardware['cores']} cores, {hardware['memory_gb']} GB"
        f"{', ' + hardware['gpu'] if hardware['gpu'] else ''}; {hardware['system']}; "
        f"{machine['threads']} threads; Python {machine['python']}, {versions}"
    )


def _how_measured(
    section: Section, report: Mapping[str, Any], machines: Sequence[Mapping[str, Any]]
) -> str:
    entry = report["sections"].get(section.name)
    if entry is None:
        return "Not measured yet."
    if "skipped" in entry["figures"]:
        return f"Skipped: {entry['figures']['skipped']}."
    run = entry["run"]
    which = f", machine {machines.index(_machine_of(entry)) + 1}" if len(machines) > 1 else ""
    quick = " Quick: sizes too small for figures that count." if run["quick"] else ""
    return (
        f"{run['date'][:16].replace('T', ' ')} UTC{which}, load average {run['load_average']} at "
        f"the start, up to {run['rounds']} rounds, {run['seconds']:.0f} s altogether.{quick}"
    )
