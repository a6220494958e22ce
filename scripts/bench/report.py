"""Measured sections in one JSON file, and that file as Markdown.

Sections may be measured on different days: each keeps the date, the load and the rounds of its
measurement and replaces only its own figures.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psutil
import torch

from latentlab.machine.files import write_bytes

Options = argparse.Namespace
Say = Callable[[str], None]
Row = Mapping[str, Any]
Table = str  # Markdown
Cell = str | Callable[[Row], str]

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
_PACKAGES = ("latentlab", "torch", "diffusers", "scikit-learn", "numpy", "numba", "imageio")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
_RUN_ONLY = ("date", "load_average", "rounds", "quick", "seconds")


def at_least(name: str, value: float, bound: float) -> Row:
    """Return a figure, with its unit in the name, and its smallest good value."""
    facts = {"name": name, "value": value, "bound": bound}
    return {**facts, "at_least": True, "met": value >= bound}


def at_most(name: str, value: float, bound: float) -> Row:
    """Return a figure, with its unit in the name, and its largest good value."""
    return {**at_least(name, value, bound), "at_least": False, "met": value <= bound}


@dataclass(frozen=True)
class Report:
    """Everything that was measured: run and figures of each section.

    A section is a module with ``measure(options, say)``, which returns figures, or the reason as
    ``{"skipped": …}``; ``tables(figures)``, one or several; and perhaps ``targets(figures)``.
    """

    modules: Mapping[str, Any]
    sections: dict[str, Any]

    @classmethod
    def read(cls, modules: Mapping[str, Any], path: Path | None) -> Self:
        """Return the report of a JSON file, or an empty one if there is no file."""
        facts = json.loads(path.read_text()) if path and path.exists() else {}
        return cls(modules, facts.get("sections", {}))

    def figures(self, name: str) -> Any:
        """Return what a section measured; None if it was not measured."""
        figures = self.sections.get(name, {}).get("figures")
        return None if figures and "skipped" in figures else figures

    def tables(self, name: str) -> list[Table]:
        figures = self.figures(name)
        found = self.modules[name].tables(figures) if figures else ()
        return [found] if isinstance(found, str) else [*found]

    @property
    def targets(self) -> list[Row]:
        found: list[Row] = []
        for name, module in self.modules.items():
            if (figures := self.figures(name)) and hasattr(module, "targets"):
                found += module.targets(figures)
        return found

    def write(self, as_json: Path | None, as_markdown: Path | None) -> None:
        """Write files that are complete or absent: all figures with their targets, and tables."""
        if as_json:
            facts = {"sections": self.sections, "targets": self.targets}
            write_bytes(as_json, f"{json.dumps(facts, indent=1)}\n".encode())
        if as_markdown:
            write_bytes(as_markdown, self.to_markdown().encode())

    def to_markdown(self) -> str:
        """Return bounds first, then machines, then a part for each section."""
        missed = [target["name"] for target in self.targets if not target["met"]]
        machines = [*{str(one): one for one in map(_machine_of, self.sections.values())}.values()]
        parts = [_INTRODUCTION, target_table(self.targets)]
        parts.append(f"Not kept: {'; '.join(missed)}." if missed else "All bounds are kept.")
        parts += ["## Machine", *(f"- {describe_machine(machine)}" for machine in machines)]
        for name in self.modules:
            measured = _how_measured(self.sections.get(name), machines)
            parts += [f"## {name}", measured, *self.tables(name)]
        return "\n\n".join(part.rstrip() for part in parts) + "\n"


def new_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table: words in the first column, numbers in the others."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [f"| {' | '.join(row)} |" for row in (headings, rule, *cells)]
    return "\n".join([f"**{title}**\n", *lines])


def table_of(title: str, rows: Iterable[Row], *columns: tuple[str, Cell]) -> Table:
    """Return a table of rows by columns, which are headings with a function or format of the row.

    A format becomes a dash where a value is None.
    """
    headings, cells = zip(*columns, strict=True)
    return new_table(title, headings, ([_fill(cell, row) for cell in cells] for row in rows))


def _fill(cell: Cell, row: Row) -> str:
    if callable(cell):
        return cell(row)
    try:
        return cell.format_map(row)
    except TypeError:
        return "–"


def target_table(targets: Iterable[Row]) -> Table:
    """Return one line for each figure that has a bound."""
    return table_of(
        "Figures and bounds",
        targets,
        ("figure", "{name}"),
        ("measured", "{value:.3g}"),
        ("bound", lambda row: f"{'≥' if row['at_least'] else '≤'} {row['bound']:g}"),
        ("kept", lambda row: "yes" if row["met"] else "no"),
    )


def describe_run() -> dict[str, Any]:
    """Return date, machine, versions and threads, ready for JSON."""
    gpu = torch.cuda.is_available()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _of_processor("model name") or platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "flags": [flag for flag in _FLAGS if flag in _of_processor("flags").split()],
            "gpu": f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if gpu else None,
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": platform.platform(),
        },
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES if _is_there(name)},
        "threads": torch.get_num_threads(),
    }


def _is_there(package: str) -> bool:
    return package != "numba" or find_spec(package) is not None  # an extra


def _of_processor(name: str) -> str:
    """Return an entry of /proc/cpuinfo for the first processor; empty where it is unknown."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _machine_of(entry: Row) -> Row:
    return {name: value for name, value in entry["run"].items() if name not in _RUN_ONLY}


def describe_machine(machine: Row) -> str:
    hardware = machine["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    flags = ", ".join(hardware["flags"]) or "no flags known"
    return (
        f"{hardware['cpu']} ({flags}), {hardware['cores']} cores, {hardware['memory_gb']} GB"
        f"{', ' + hardware['gpu'] if hardware['gpu'] else ''}; {hardware['system']}; "
        f"{machine['threads']} threads; Python {machine['python']}, {versions}"
    )


def _how_measured(entry: Row | None, machines: Sequence[Row]) -> str:
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
