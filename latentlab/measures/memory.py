"""What single images contributed, on disk, so that an interrupted pass continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentlab.machine.files import write_bytes
from latentlab.machine.parsing import WRONG_FACTS, parse_json

Rows = Mapping[str, Tensor]


class ImageMemory:
    """The per-image numbers of metrics that an earlier pass computed, and those of this one.

    A file of JSON lines: first what was asked, then a line for each metric and batch. A line that
    a killed pass left unfinished is dropped, and so is a file about anything else.

    Parameters
    ----------
    path : Path
    asked : everything that the numbers depend on, JSON-ready
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        self.path = path
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}
        head = json.dumps(asked)
        kept = [head, *self._read(head)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())
        self.recalled = {name for _, *paths in self._known for name in paths}

    def _read(self, head: str) -> list[str]:
        """Return the complete lines of a file about the same, and learn what they say."""
        lines: list[str] = []
        with suppress(OSError, *WRONG_FACTS):
            first, *rest = self.path.read_text(encoding="utf-8").splitlines()
            for line in rest if first == head else ():
                one = parse_json(line)
                self._known[one["metric"], *one["paths"]] = one["columns"]
                lines.append(line)
        return lines

    def columns(self, metric: str, paths: tuple[str, ...], compute: Callable[[], Rows]) -> Rows:
        """Return the numbers of images, as they are known or else computed and written.

        Examples
        --------
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "measuring.jsonl"
        >>> asked = {"model": "mini"}
        >>> _ = ImageMemory(file, asked).columns("mse", ("a",), lambda: {"mse": torch.ones(1)})
        >>> ImageMemory(file, asked).columns("mse", ("a",), dict)
        {'mse': tensor([1.], dtype=torch.float64)}
        """
        # Each is asked for once: what is kept here would grow with the images.
        found = self._known.pop((metric, *paths), None)
        if found is None:
            found = {name: one.double().tolist() for name, one in compute().items()}
            line = json.dumps({"metric": metric, "paths": list(paths), "columns": found})
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        return {name: torch.tensor(one, dtype=torch.float64) for name, one in found.items()}

    def forget(self) -> None:
        """Delete the file, once the whole is saved elsewhere."""
        self.path.unlink(missing_ok=True)
