"""What the digits commands do before and after their work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentlab.cli.console import progress_bar

if TYPE_CHECKING:
    import torch

    from latentlab.digits.data import DigitsData
    from latentlab.digits.folders import DigitsRun


def device_for(name: str) -> torch.device:
    """Return the device that ``--device`` names; ``auto`` is the first accelerator, or the CPU.

    Raises
    ------
    UsageError : no such device here.
    """
    import torch

    from latentlab.errors import UsageError

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {name}", "a device that is there", "pass --device cpu"
        ) from error
    return device


def read_data(name: str, *, offline: bool, quiet: bool) -> DigitsData:
    """Return the data, showing the download where there is one."""
    from latentlab.digits.data import load_data

    with progress_bar(quiet=quiet, in_bytes=True) as progress:
        return load_data(name, offline=offline, progress=progress)


def data_of(run: DigitsRun, asked: str | None, *, offline: bool, quiet: bool) -> DigitsData:
    """Return the data asked for, or that the run was trained on.

    Raises
    ------
    UsageError : pictures of another size than the model's.
    """
    from latentlab.errors import UsageError

    data = read_data(asked or str(run.facts["data"]["name"]), offline=offline, quiet=quiet)
    if data.test.size != run.model.config.size:
        raise UsageError(
            f"--data {data.name} with pictures of {data.test.size} px",
            f"{run.model.config.size} px, as {run.name} was trained on",
            "choose other data or another run",
        )
    return data


def results_folder(out: Path | None, what: str) -> Path:
    """Return ``--out``, or a new folder for the results.

    Raises
    ------
    FileError : it cannot be written.
    """
    from latentlab.results.folders import check_folder, create_run

    if out is None:
        return create_run("digits", what)
    check_folder(out)
    return out


def record_command(folder: Path, command: str, command_line: list[str], **facts: Any) -> Path:
    """Note in ``run.json`` what it takes to repeat a command; return its path."""
    import platform

    from latentlab.machine.versions import library_versions, record

    return record(
        folder,
        f"digits {command}",
        {
            "command_line": command_line,
            **facts,
            "versions": library_versions(),
            "platform": platform.platform(),
        },
    )
