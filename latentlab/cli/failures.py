"""What an error says, in one line, and the exit code that it becomes."""

from __future__ import annotations

import typer

from latentlab.cli.guesses import answer
from latentlab.errors import LatentlabError

OUT_OF_MEMORY = 5
_NO_MEMORY = "Out of memory. Lower --size, --samples or --steps."
_PLAINER = {
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
    "Input should be a valid number, unable to parse string as a number": "not a number",
    "Input should be greater than or equal to": "expected at least",
    "Input should be less than or equal to": "expected at most",
    "Value error, ": "",
}
"""Wording of the command-line parser → ours."""


def explain(error: Exception) -> tuple[str, int]:
    """Return an error's message, in one line, and its exit code."""
    first = (str(error).splitlines() or [""])[0].rstrip(". ")
    match error:
        case LatentlabError():
            return str(error), error.exit_code
        case typer.TyperException():
            told = str(answer(error) or " ".join(error.format_message().split()))
            for theirs, ours in _PLAINER.items():
                told = told.replace(theirs, ours)
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "latentlab"
            return (
                f"{told.rstrip('.')}{'' if told.endswith('?') else '.'} See `{command} --help`.",
                error.exit_code,
            )
        case MemoryError():
            return _NO_MEMORY, OUT_OF_MEMORY
        case RuntimeError() if "out of memory" in first or "allocate memory" in first:
            return _NO_MEMORY, OUT_OF_MEMORY
        case OSError():
            advice = "Check the path, its permissions and the free space."
            return f"A file could not be read or written: {first}. {advice}", 1
    name = type(error).__name__
    return f"Unexpected {name}: {first}. Run again with --debug and report it.", 1
