"""The default model, and where users configure another."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentlab.errors import UsageError
from latentlab.machine.parsing import parse_toml

DEFAULT_MODEL = "mini"
MODEL_VARIABLE = "LATENTLAB_MODEL"


@dataclass(frozen=True)
class ChosenModel:
    """A model's name and who chose it.

    Parameters
    ----------
    name : str, what :func:`latentlab.load_vae` takes
    chosen_by : str, such as ``"--model"``, or ``"default"``
    """

    name: str
    chosen_by: str

    def announce(self) -> str:
        """Return a line on the model that is used; empty if the command line itself names it."""
        match self.chosen_by:
            case "--model":
                return ""
            case "default":
                return f"loading {self.name}, the default; for another, see `latentlab models`"
        return f"loading {self.name} (chosen by {self.chosen_by})"


def choose_model(asked: str | None = None, folder: Path | None = None) -> ChosenModel:
    """Return the model to use: the one asked for, else the one configured, else the default.

    In this order: ``asked`` (``--model``), the variable LATENTLAB_MODEL, ``model`` under
    ``[tool.latentlab]`` of the nearest ``pyproject.toml`` that has such a table, ``model`` in the
    user's ``latentlab/config.toml`` under XDG_CONFIG_HOME or ``~/.config``, and the default.

    Parameters
    ----------
    asked : str, optional
    folder : Path, optional; where to start looking for ``pyproject.toml``; by default the
        current folder

    Raises
    ------
    UsageError : a configuration file is not valid TOML, or its model is not a string.

    Examples
    --------
    >>> choose_model("flux1")
    ChosenModel(name='flux1', chosen_by='--model')
    """
    if asked:
        return ChosenModel(asked, "--model")
    if variable := os.environ.get(MODEL_VARIABLE):
        return ChosenModel(variable, MODEL_VARIABLE)
    start = (folder or Path.cwd()).absolute()
    for path in (home / "pyproject.toml" for home in (start, *start.parents)):
        table = _read_toml(path).get("tool", {}).get("latentlab")
        if table is not None:
            return _model_in(table, path) or ChosenModel(DEFAULT_MODEL, "default")
    path = _user_file()
    return _model_in(_read_toml(path), path) or ChosenModel(DEFAULT_MODEL, "default")


def _user_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "latentlab" / "config.toml"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except OSError:
        return {}  # missing or unreadable
    except ValueError as error:
        raise UsageError(f"{path} ({error})", "a TOML file", "correct its syntax") from error


def _model_in(table: Any, path: Path) -> ChosenModel | None:
    model = table.get("model") if isinstance(table, dict) else table
    if model is None:
        return None
    if not isinstance(model, str) or not model:
        raise UsageError(
            f"model = {model!r} in {path}", "a name in quotes", 'write model = "flux1", for example'
        )
    return ChosenModel(model, str(path))
