"""Pages that are one table: names that can be registered, and exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any


def names_page() -> str:
    """Return the page of everything that is called by name, with its options."""
    from latentlab.chance.nulls import NULLS
    from latentlab.directions import FINDERS
    from latentlab.neighborhoods import SAMPLERS
    from latentlab.pullback import FEATURES

    sections = {
        "Neighborhoods (`--neighborhood`)": SAMPLERS,
        "Finders (`--finder`)": FINDERS,
        "Null models (`--nulls`)": NULLS,
        "Features (`--features`)": FEATURES,
    }
    parts = [
        "# Names and their options\n",
        "Everything here is a class in a registry. `--set option=value` sets an option on the command "
        "line. In Python the options are keyword arguments. A class of your own is registered with one "
        "decorator: [CONTRIBUTING](../CONTRIBUTING.md) shows each kind. Metrics have "
        "[their own page](../metrics.md).\n",
    ]
    for heading, registry in sections.items():
        columns = "| name | what it is | what it can show, and what not | options |"
        parts += [f"## {heading}\n", columns, "|---|---|---|---|"]
        parts += [_row(name, registry[name]) for name in registry]
        parts.append("")
    return "\n".join(parts)


def _row(name: str, entry: Any) -> str:
    summary = (inspect.getdoc(entry) or "").split("\n\n")[0]
    statement = getattr(entry, "statement", "")
    told = statement if isinstance(statement, str) else ""
    return f"| `{name}` | {_cell(summary)} | {_cell(told)} | {_options(entry)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _options(entry: Any) -> str:
    if not is_dataclass(entry):
        return ""
    return ", ".join(f"`{one.name}={one.default}`" for one in fields(entry))


def exit_codes_page() -> str:
    """Return the page of exit codes, with the errors that end with each."""
    from latentlab.cli.main import INTERRUPTED, main

    told = " ".join((inspect.getdoc(main) or "").split("\n\n")[1].split()).rstrip(".")
    meanings = dict(part.strip().split(" ", 1) for part in told.split(";"))
    errors: dict[int, list[str]] = {}
    for error in _all_errors():
        errors.setdefault(error.exit_code, []).append(f"`{error.__name__}`")
    rows = [
        f"| {code} | {meaning} | {', '.join(errors.get(int(code), []))} |"
        for code, meaning in meanings.items()
    ]
    assert str(INTERRUPTED) in meanings
    return _EXIT_CODES.format(rows="\n".join(rows))


def _all_errors() -> Iterator[Any]:
    from latentlab.errors import LatentlabError

    pending = [LatentlabError]
    while pending:
        one = pending.pop(0)
        yield one
        pending += one.__subclasses__()


_EXIT_CODES = """# Exit codes

How a command ended. With several images, it is the code of the first failure. In Python, the errors in
the last column are raised instead; they are in [latentlab.errors](python/errors_module.rst).

| code | meaning | errors |
|---|---|---|
{rows}
"""
