"""The reference of the command line, from the parser itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


def command_pages() -> dict[str, str]:
    """Return page → Markdown: one page for each command, and the list of all of them."""
    commands = dict(all_commands())
    listed = [
        f"| [`{name}`]({_stem(name)}.md) | {_first_sentence(one.help)} |"
        for name, one in commands.items()
    ]
    links = "\n".join(map(_stem, commands))
    index = _INDEX.format(rows="\n".join(listed), links=links)
    return {
        "reference/commands/index.md": index,
        **{
            f"reference/commands/{_stem(name)}.md": _page(name, one)
            for name, one in commands.items()
        },
    }


def all_commands() -> Iterator[tuple[str, Any]]:
    """Yield the words that call each command, and the command."""
    import typer

    from latentlab.cli.main import app

    for name, one in typer.main.get_command(app).commands.items():
        parts = getattr(one, "commands", None)
        if parts is None:
            yield f"latentlab {name}", one
        for inner, part in (parts or {}).items():
            yield f"latentlab {name} {inner}", part


_INDEX = """# Commands

Every command, from the parser. `latentlab COMMAND -h` prints the same.
[Exit codes](../exit_codes.md) say how a command ended.

| command | what it does |
|---|---|
{rows}

```{{toctree}}
:hidden:

{links}
```
"""


def _stem(name: str) -> str:
    return name.removeprefix("latentlab ").replace(" ", "-")


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _page(name: str, command: Any) -> str:
    shown = command._filled_in() if hasattr(command, "_filled_in") else command
    context = shown.make_context(name, [], resilient_parsing=True)
    usage = _plain(" ".join([name, *shown.collect_usage_pieces(context)]))
    parts = [f"# {name}\n", f"{_paragraphs(command.help)}\n", f"```text\n{usage}\n```\n"]
    for heading, rows in _groups(shown, context).items():
        if rows:
            column = "argument" if heading == "Arguments" else "option"
            parts += [f"## {heading}\n", f"| {column} | what it does |", "|---|---|"]
            parts += [f"| {_code(what)} | {_cell(text)} |" for what, text in rows]
            parts.append("")
    return "\n".join(parts)


def _groups(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    from latentlab.cli import help as grouped

    groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            groups.setdefault(grouped._group_of(parameter), []).append(record)
    return groups


def _paragraphs(text: str | None) -> str:
    parts = (text or "").split("\n\n")
    return "\n\n".join(" ".join(part.replace("\b", "").split()) for part in parts)


def _plain(text: str) -> str:
    """Return words of the parser as people write them: IMAGE for {image}, no Python types."""
    named = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), text)
    return re.sub(r" ?<list\[\w+\]>", "", named)


def _code(text: str) -> str:
    return f"`{_plain(text)}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
