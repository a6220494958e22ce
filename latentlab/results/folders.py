"""Run folders and their JSON files.

There are no timestamps: the same command writes the same bytes on the same machine.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from latentlab.errors import FileError
from latentlab.machine.files import check_folder, replace_when_done
from latentlab.machine.parsing import WRONG_FACTS, parse_json

RUNS_FOLDER = Path("latentlab-runs")
_ELSEWHERE = ".latest"
_RESULTS = {
    *(".png", ".pdf", ".svg", ".csv", ".json", ".safetensors"),
    *(".gif", ".webp", ".apng", ".mp4"),
}


def create_run(image: str, model: str, root: Path = RUNS_FOLDER) -> Path:
    """Return a new folder ``root/<image>-<model>-<n>``, n counting up from 1."""
    stem = f"{_plain(image)}-{_plain(model)}"
    check_folder(root)
    for number in count(1):
        folder = root / f"{stem}-{number}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:60] or "image"


def latest_run(root: Path = RUNS_FOLDER) -> Path:
    """Return the run folder whose ``pca.json`` was written last.

    Raises
    ------
    FileError : there is none.
    """
    elsewhere = root / _ELSEWHERE
    candidates = [*root.glob("*/pca.json")]
    if elsewhere.is_file():
        noted = elsewhere.read_text(encoding="utf-8", errors="replace")
        candidates.append(Path(noted) / "pca.json")
    runs = [path for path in candidates if path.is_file()]
    if not runs:
        raise FileError(
            f"no pca run in {root}",
            "an image or an earlier run",
            "run `latentlab pca IMAGE` first, or pass IMAGE or --run DIR",
        )
    return max(runs, key=lambda path: (path.stat().st_mtime_ns, path)).parent


def remember_run(folder: Path, root: Path = RUNS_FOLDER) -> None:
    """Note a run that lies outside ``root``, so that :func:`latest_run` finds it."""
    if folder.absolute().parent == root.absolute():
        return
    # The note is optional: without it, `--run DIR` still finds the folder.
    with suppress(OSError, FileError, UnicodeError), replace_when_done(root / _ELSEWHERE) as note:
        note.write_text(str(folder.absolute()), encoding="utf-8")


def write_json(path: Path, facts: Mapping[str, Any]) -> Path:
    """Write facts as JSON, completely or not at all, without NaN or infinity; return the path."""
    text = json.dumps(finite(facts), indent=2, ensure_ascii=False, allow_nan=False)
    with replace_when_done(path) as unfinished:
        # File names may hold bytes that are not valid text; they become JSON escapes.
        unfinished.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def finite(facts: Any) -> Any:
    """Return facts with NaN and infinity replaced by None, since JSON has neither."""
    if isinstance(facts, Mapping):
        return {str(key): finite(value) for key, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [finite(value) for value in facts]
    return None if isinstance(facts, float) and not math.isfinite(facts) else facts


def read_json(path: Path, command: str = "pca") -> dict[str, Any]:
    """Return the object in a JSON file of a run.

    Raises
    ------
    FileError : the file is missing or is not a JSON object.
    """
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")).items())
    except (OSError, *WRONG_FACTS) as error:
        raise FileError(
            f"{path} ({error})",
            f"a JSON object written by `latentlab {command}`",
            f"run `latentlab {command}` again",
        ) from error


def listed_files(folder: Path, *records: str) -> set[Path]:
    """Return the files of a folder that the ``files`` of earlier JSON records name."""
    listed: set[Path] = set()
    for name in records:
        with suppress(FileError):  # missing or damaged
            files = read_json(folder / name).get("files") or []
            listed |= {folder / Path(str(file)).name for file in files}
    return {path for path in listed if path.suffix in _RESULTS}


@dataclass(frozen=True, eq=False)
class Saved:
    """What was written into a result folder.

    Parameters
    ----------
    folder : Path
    files : paths of all files, ``run.json`` last
    facts : contents of the result's JSON file
    """

    folder: Path
    files: tuple[Path, ...]
    facts: dict[str, Any]

    def printed(self) -> dict[str, Any]:
        """Return the facts with the paths of all files, as commands print them."""
        return {**self.facts, "files": [str(path) for path in self.files]}
