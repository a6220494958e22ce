"""Files with one JSON object a line, in ASCII: the list of images and the indexes of a store.

File names may hold bytes that are not text; JSON's escapes preserve them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentlab.errors import FileError
from latentlab.machine.parsing import parse_json


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
    FileError : the file is missing, or a line is not a whole JSON object.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _parse(line, path, number)
    except OSError as error:
        raise damaged(f"{path} ({error.strerror})") from error


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        facts = parse_json(line) if line.endswith(b"\n") else None
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise damaged(f"{path}, damaged in line {number}")
    return facts


def damaged(got: str, expected: str = "a file that `latentlab encode` wrote") -> FileError:
    """Return the error for a store in which something is missing or damaged."""
    advice = "run `latentlab encode` again with the same options to complete or repair the store"
    return FileError(got, expected, advice)
