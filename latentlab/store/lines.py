"""Files of JSON objects, one a line, in ASCII: what a store says of its pictures.

Names of files may hold bytes that are no text; JSON's escapes bring them back as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentlab.errors import FileError


def line_of(facts: Mapping[str, Any]) -> bytes:
    r"""Return facts as one line of ASCII.

    Examples
    --------
    >>> line_of({"path": "caf\udce9.png", "size": 7})
    b'{"path":"caf\\udce9.png","size":7}\n'
    """
    return json.dumps(facts, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the object in each line of a file.

    Raises
    ------
    FileError : the file is missing, or a line is no whole JSON object.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _parse(line, path, number)
    except OSError as error:
        raise _no_file_of_ours(f"{path} ({error.strerror})") from error


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        facts = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise damaged(path, number)
    return facts


def damaged(path: Path, number: int) -> FileError:
    """Return the error that says which line of a file is none of ours."""
    return _no_file_of_ours(f"{path}, damaged in line {number}")


def _no_file_of_ours(what: str) -> FileError:
    return FileError(
        what, "a file that `latentlab encode` wrote", "run `latentlab encode` again, as before"
    )
