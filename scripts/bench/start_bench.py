"""How long commands without a model take, and which heavy modules they import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measuring import time_in_turn
from report import Options, Row, Say, Table, at_most, table_of

COMMANDS = ("--help", "--version", "models")
HEAVY = {"torch", "diffusers", "sklearn", "matplotlib", "numpy", "scipy", "transformers"}

run = partial(subprocess.run, check=True, capture_output=True, text=True)


def measure(options: Options, say: Say) -> list[Row]:
    """Return the wall time of each command and of Python alone, and the heavy modules loaded."""
    script = Path(sys.executable).with_name("latentlab")
    latentlab = [script] if script.exists() else [sys.executable, "-m", "latentlab"]
    jobs = {command: partial(run, [*latentlab, command]) for command in COMMANDS}
    jobs["python"] = partial(run, [sys.executable, "-c", "pass"])
    timings = time_in_turn(jobs, options.rounds)
    return [
        {
            "command": command,
            **timings[command].figures,
            "python_seconds": timings["python"].median,
            "heavy_imports": _heavy_imports(command),
        }
        for command in COMMANDS
    ]


def _heavy_imports(command: str) -> list[str]:
    done = run([sys.executable, "-X", "importtime", "-m", "latentlab", command])
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return sorted(HEAVY & imported)


def targets(rows: Sequence[Row]) -> list[Row]:
    with_torch = sum("torch" in row["heavy_imports"] for row in rows)
    return [
        at_most("latentlab --help, seconds", rows[0]["seconds"], 0.3),
        at_most("commands without a model that import torch", with_torch, 0),
    ]


def tables(rows: Sequence[Row]) -> Table:
    return table_of(
        "Commands that load no model",
        rows,
        ("command", "latentlab {command}"),
        ("seconds", "{seconds:.3f}"),
        ("python alone", "{python_seconds:.3f}"),
        ("heavy imports", lambda row: ", ".join(row["heavy_imports"]) or "none"),
    )
