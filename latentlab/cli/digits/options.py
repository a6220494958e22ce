"""Options that the digits commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentlab.errors import UsageError

Run = Annotated[
    str | None,
    typer.Argument(
        help="Folder that `digits train` wrote; by default the model that comes with latentlab."
    ),
]
Data = Annotated[
    str,
    typer.Option(
        help="digits (8×8, comes with scikit-learn), mnist (downloaded once), or a folder with "
        "MNIST's IDX files."
    ),
]
RunData = Annotated[
    str | None, typer.Option("--data", help="As for train; by default the run's own.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the results; by default latentlab-runs/digits-<what>-<n>."),
]
Hidden = Annotated[
    str | None,
    typer.Option(help="Widths of the MLP (400), or channels of the convolutions (16,32)."),
]


def parse_numbers(option: str, text: str, *, whole: bool = False) -> tuple[float, ...]:
    """Return the numbers in a comma-separated option.

    Raises
    ------
    UsageError : something that is no number.
    """
    kind = int if whole else float
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"{option} {text}", "numbers with commas between", f"write, say, {option} 1,2"
        ) from error
