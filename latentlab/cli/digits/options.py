"""Options that the digits commands share, and the data that ``--data`` names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from latentlab.cli.console import progress_bar
from latentlab.cli.options import OUT
from latentlab.errors import FileError, UsageError

if TYPE_CHECKING:
    from latentlab.digits.data import DigitsData

Number = TypeVar("Number", int, float)


def check_run(source: str | None) -> str | None:
    """Return the folder of a model; FileError, before torch is imported, if there is none."""
    from latentlab.digits.exported import locate_model

    folder, shipped = locate_model(source)
    if not shipped and not folder.is_dir():
        raise FileError(
            f"{folder}, which is no folder",
            "a folder that `latentlab digits train` wrote",
            "pass one, or none for the model that comes with latentlab",
        )
    return source


Run = Annotated[
    str | None,
    typer.Argument(
        callback=check_run,
        help="Folder that `digits train` wrote. Default: the model that comes with latentlab.",
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
    str | None,
    typer.Option("--data", help="As for train. Default: the data that the model was trained on."),
]
Out = Annotated[
    Path | None,
    typer.Option(*OUT, help="Folder for the results. Default: latentlab-runs/digits-<what>-<n>."),
]
Latent = Annotated[int, typer.Option(help="Number of latent dimensions.")]
Network = Annotated[str, typer.Option(help="mlp or conv.")]
Hidden = Annotated[
    str | None,
    typer.Option(
        help="Widths of the MLP's hidden layers (default 400), or channels of the two "
        "convolutions (default 16,32)."
    ),
]
Batch = Annotated[int, typer.Option(help="Images per step.")]
Fps = Annotated[float, typer.Option(help="Frames per second.")]


def parse_numbers(option: str, text: str, kind: type[Number]) -> tuple[Number, ...]:
    """Return the numbers in a comma-separated option.

    Raises
    ------
    UsageError : a part that is not a number of this kind.
    """
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"{option} {text}", "numbers separated by commas", f"write, for example, {option} 1,2"
        ) from error


def parse_hidden(text: str | None) -> tuple[int, ...]:
    """Return the widths in ``--hidden``; empty, for the network's default, if it is not given."""
    return parse_numbers("--hidden", text, int) if text else ()


def read_data(name: str, *, offline: bool, quiet: bool) -> DigitsData:
    """Return the data that ``--data`` names, showing the progress of a download."""
    from latentlab.digits.data import load_data

    with progress_bar(quiet=quiet, in_bytes=True) as progress:
        return load_data(name, offline=offline, progress=progress)
