"""How long commands take that load no model, and what they import all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import Job, Target, time_in_turn

COMMANDS = ("--help", "--version", "models")
HEAVY = ("torch", "diffusers", "sklearn", "matplotlib", "numpy", "scipy", "transformers")
HELP_SECONDS = 0.3

_LIST_IMPORTS = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    from latentlab.cli.main import main
    main(sys.argv[1:])
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


def measure_start(rounds: int) -> list[dict[str, Any]]:
    """Return the wall time of each command, and of Python alone, with the heavy modules loaded."""
    jobs = {"python": _process([sys.executable, "-c", "pass"])}
    jobs |= {command: _process([*_latentlab(), command]) for command in COMMANDS}
    timings = time_in_turn(jobs, rounds)
    floor = timings["python"].median
    return [
        {
            "command": command,
            "seconds": timings[command].median,
            "all_seconds": timings[command].seconds,
            "python_seconds": floor,
            "heavy_imports": _heavy_imports(command),
        }
        for command in COMMANDS
    ]


def start_targets(rows: list[dict[str, Any]]) -> list[Target]:
    """Return the time of ``--help`` and the number of torch imports beside their bounds."""
    with_torch = sum("torch" in row["heavy_imports"] for row in rows)
    return [
        Target("latentlab --help, seconds", rows[0]["seconds"], HELP_SECONDS, at_least=False),
        Target("commands without a model that import torch", with_torch, 0, at_least=False),
    ]


def _latentlab() -> list[str]:
    script = Path(sys.executable).with_name("latentlab")
    return [str(script)] if script.exists() else [sys.executable, "-m", "latentlab"]


def _process(command: list[str]) -> Job:
    return lambda: subprocess.run(command, check=True, capture_output=True)


def _heavy_imports(command: str) -> list[str]:
    listing = subprocess.run(
        [sys.executable, "-c", _LIST_IMPORTS, command], check=True, capture_output=True, text=True
    ).stdout
    return [name for name in json.loads(listing) if name in HEAVY]
