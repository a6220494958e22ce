"""Where the digits commands put their results, and how they print them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from latentlab.cli.console import print_json

Summary = Callable[[Mapping[str, Any]], None]


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
    print_summary: Summary | None = None,
    **settings: Any,
) -> None:
    """Record a command in ``run.json``, then print its facts, as ``--json`` and ``--quiet`` ask.

    Parameters
    ----------
    context : of the command, with its name, options and command line
    folder : of the results
    facts : of the command, with the paths of its ``files``
    print_summary : prints the facts for people; by default, only the files are listed
    settings : for ``run.json``, in addition to the command line and the versions
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
    if context.params["json"]:
        print_json(facts)
    elif not context.params["quiet"]:
        if print_summary:
            print_summary(facts)
        print(*files, sep="\n")


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None
) -> None:
    """Print a table below its title; columns with a heading are aligned to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if title:
        console.print(title, style="bold")
    table = Table(box=None, pad_edge=False, show_header=any(headings))
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
