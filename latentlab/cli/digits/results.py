"""Where the digits commands put their results, and how they print them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from latentlab.cli.console import print_json


def results_folder(out: Path | None, what: str) -> Path:
    """Return ``--out``, or a new folder for the results.

    Raises
    ------
    FileError : it cannot be written.
    """
    from latentlab.runs import check_folder, create_run

    if out is None:
        return create_run("digits", what)
    check_folder(out)
    return out


def report(
    context: typer.Context,
    folder: Path,
    facts: Mapping[str, Any],
    print_summary: Callable[[Mapping[str, Any]], None] | None = None,
    *,
    json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Record a command in ``run.json``, then print its facts as JSON or as a summary.

    Parameters
    ----------
    context : of the command
    folder : of the results
    facts : of the command, with the paths of its ``files``
    print_summary : prints what people want to know; the files are listed after it
    json, quiet : the options of the same names
    settings : for ``run.json``, with the command line and the versions
    """
    from latentlab.provenance import library_versions, record

    described = {
        "command_line": context.obj,
        **settings,
        "versions": library_versions(),
        "platform": platform.platform(),
    }
    noted = record(folder, f"digits {context.info_name}", described)
    files = [str(path) for path in (*facts["files"], noted)]
    facts = {**facts, "out": str(folder), "files": files}
    if json:
        print_json(facts)
    elif not quiet:
        if print_summary is not None:
            print_summary(facts)
        print(*files, sep="\n")


def print_line(text: str, *, bold: bool = False) -> None:
    """Print a line, bold where stdout is a terminal."""
    from rich.console import Console

    Console(highlight=False, markup=False).print(text, style="bold" if bold else None)


def print_table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table whose columns are aligned to the right, except those without a heading."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=any(headings))
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)
