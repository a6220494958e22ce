"""Run folders of digits models: weights, facts, figures of every epoch, and where to go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentlab.digits.exported import SHIPPED as SHIPPED
from latentlab.digits.measure import Codes
from latentlab.digits.models import DigitsModel, build_model, config_from
from latentlab.errors import FileError
from latentlab.machine.files import check_folder, replace_when_done
from latentlab.models.shipped import shipped_folder
from latentlab.results.folders import read_json, write_json

MODEL = "model.safetensors"
CODES = "codes.safetensors"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.safetensors"
KEPT_CODES = 1000
QUANTILES = (0.005, 0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975, 0.995)
_FORMAT = "latentlab digits 1"


@dataclass(frozen=True, eq=False, repr=False)
class DigitsRun:
    """A trained model and what is known of it.

    Parameters
    ----------
    name : str, for titles
    model : DigitsModel, ready for use
    facts : contents of ``config.json``
    codes : Codes of up to 1,000 test pictures
    """

    name: str
    model: DigitsModel
    facts: Mapping[str, Any] = field(default_factory=dict)
    codes: Codes | None = None

    def __repr__(self) -> str:
        return f"DigitsRun({self.name!r}, {self.model.config})"

    @property
    def tilt_dimension(self) -> int | None:
        """The latent that is the tilt, counting from zero, where that was measured."""
        found = self.facts.get("tilt_dimension")
        return None if found is None else int(found)


def save_run(
    folder: Path,
    model: DigitsModel,
    facts: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    codes: Codes,
) -> list[Path]:
    """Write weights, codes, ``config.json`` and ``metrics.jsonl``; return their paths."""
    check_folder(folder)
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    kept = {
        "mean": codes.mean[:KEPT_CODES].contiguous(),
        "logvar": codes.logvar[:KEPT_CODES].contiguous(),
        "labels": codes.labels[:KEPT_CODES].contiguous(),
    }
    described = {
        "format": _FORMAT,
        "model": model.config.describe(),
        **facts,
        "latent": describe_codes(codes),
    }
    return [
        save_tensors(folder / MODEL, weights),
        save_tensors(folder / CODES, kept),
        write_json(folder / CONFIG, described),
        write_history(folder / METRICS, history),
    ]


def describe_codes(codes: Codes) -> dict[str, Any]:
    """Return mean, standard deviation and quantiles of the posterior means, by dimension."""
    means = codes.mean.double()
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    return {
        "mean": means.mean(0).tolist(),
        "std": means.std(0).tolist(),
        "quantiles": {
            f"{level:g}": values.tolist()
            for level, values in zip(QUANTILES, means.quantile(levels, dim=0), strict=True)
        },
    }


def write_history(path: Path, history: Sequence[Mapping[str, Any]]) -> Path:
    """Write one JSON object a line, whole or not at all; return the path."""
    with replace_when_done(path) as unfinished:
        lines = [json.dumps(entry, allow_nan=False) + "\n" for entry in history]
        unfinished.write_text("".join(lines), encoding="utf-8")
    return path


def load_run(source: str | os.PathLike[str] | None = None) -> DigitsRun:
    """Return the model in a run folder; without one, the model that comes with latentlab.

    Raises
    ------
    FileError : no such folder, or files in it that are missing, damaged or do not match.
    WeightsError : the shipped files are not those that were shipped.

    Examples
    --------
    >>> load_run().tilt_dimension
    3
    """
    shipped = source is None or (str(source) == SHIPPED and not Path(source).exists())
    folder = shipped_folder(SHIPPED) if shipped else Path(str(source))
    if not (folder / CONFIG).is_file():
        unfinished = (folder / CHECKPOINT).is_file()
        raise FileError(
            f"{folder} without {CONFIG}",
            "a folder that `latentlab digits train` wrote",
            f"finish it with `latentlab digits train --resume --out {folder}`"
            if unfinished
            else "pass one, or leave it out for the model that comes with latentlab",
        )
    facts = read_json(folder / CONFIG)
    if facts.get("format") != _FORMAT:
        raise FileError(
            f"{folder / CONFIG} of format {facts.get('format')!r}",
            f"{_FORMAT!r}",
            "pass a folder that `latentlab digits train` wrote",
        )
    model = build_model(config_from(facts.get("model", {})))
    codes = load_tensors(folder / CODES)[0]
    try:
        model.load_state_dict(load_tensors(folder / MODEL)[0])
        kept = Codes(codes["mean"], codes["logvar"], codes["labels"])
    except (RuntimeError, KeyError) as error:
        raise _damaged(folder / MODEL, error) from error
    name = "the shipped model" if shipped else folder.name
    return DigitsRun(name, model.eval(), facts, kept)


# Tensors with facts


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None
) -> Path:
    """Write tensors and facts as one safetensors file, whole or not at all; return its path."""
    from safetensors.torch import save

    metadata = {"facts": json.dumps(facts)} if facts is not None else None
    with replace_when_done(path) as unfinished:
        # save_file would hide the file from everybody else (mode 0600).
        unfinished.write_bytes(save(dict(tensors), metadata))
    return path


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts of a safetensors file.

    Raises
    ------
    FileError : the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> FileError:
    return FileError(
        f"{path}, which cannot be used ({error})",
        "a whole file that `latentlab digits train` wrote",
        "train again",
    )
