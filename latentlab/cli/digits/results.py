"""Where the digits commands put their results, and how they print them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from latentlab.cli.console import print_json, print_parts, styled, table


def results_folder(out: Path | None, what: str) -> Path:
    """Return ``--out``, or a new folder for the results.

    Raises
    ------
    FileError : it cannot be written.
    """
    from latentlab.machine.files import check_folder
    from latentlab.results.folders import create_run

    if out is None:
        return create_run("digits", what)
    check_folder(out)
    return out


def report(
    context: typer.Context,
    folder: Path,
    facts: Mapping[str, Any],
    print_summary: Callable[[Mapping[str, Any]], None] | None = None,
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
    from latentlab.results.provenance import write_record

    described = {"command_line": context.obj, **settings}
    noted = write_record(folder, f"digits {context.info_name}", described)
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
    left = [index for index, heading in enumerate(headings) if not heading]
    made = table([*rows], headings if any(headings) else (), left=left)
    print_parts([styled(title, "bold"), made] if title else [made])
